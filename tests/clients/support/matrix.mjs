// The table of clients in tests/README.md, and a client's column of it: what a suite found must be what the table says.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";

const readme = new URL("../../README.md", import.meta.url);

/** What the table says of one client: method -> "ok", an error code, or "-" where the client does not know it. */
export async function columnOf(client) {
    const lines = (await readFile(readme, "utf8")).split("\n");
    const start = lines.findIndex((line) => line.startsWith("| method |"));
    assert.notEqual(start, -1, "no table of methods in tests/README.md");
    const cells = (line) => line.split("|").slice(1, -1).map((cell) => cell.replaceAll("`", "").trim());
    const column = cells(lines[start]).indexOf(client);
    assert.notEqual(column, -1, `no column for ${client} in tests/README.md`);
    const rows = lines.slice(start + 2);
    const end = rows.findIndex((line) => !line.startsWith("|"));
    return new Map(rows.slice(0, end).map((line) => [cells(line)[0], cells(line)[column]]));
}

/** What a suite finds out about a client. */
export class Findings {
    #found = new Map();

    constructor(client) {
        this.client = client;
    }

    /** Calls a method and notes how it went: its value, or undefined where the wallet refused with a code. */
    async call(method, promise) {
        try {
            const value = await promise;
            this.#note(method, "ok");
            return value;
        } catch (error) {
            const code = error?.code;
            if (typeof code !== "string" || !/^[A-Z_]+$/.test(code)) throw error;
            this.#note(method, code);
            return undefined;
        }
    }

    #note(method, result) {
        const before = this.#found.get(method);
        assert.ok(before === undefined || before === result, `${method} went both ways: ${before}, ${result}`);
        this.#found.set(method, result);
    }

    /** Compares with the table; methods that were not called must stand there as "-". */
    async check() {
        for (const [method, expected] of await columnOf(this.client)) {
            assert.equal(this.#found.get(method) ?? "-", expected, `${this.client}: ${method}`);
        }
        assert.ok(this.#found.size > 0, "nothing was called");
    }
}
