// A hearth of its own for each suite: spawned on a temporary directory, asked by its command line, stopped at the end.
import { execFile, spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import WebSocket from "ws";

// Node.js has a WebSocket of its own since version 22.
globalThis.WebSocket ??= WebSocket;

const run = promisify(execFile);
const repository = fileURLToPath(new URL("../../..", import.meta.url));
const binary = process.env.HEARTH ?? path.join(repository, "target/release/hearth");

/** The longest that any single wait may take. */
export const PATIENCE_MS = 60_000;

/** Waits for a promise, with a bound. */
export function within(what, promise, ms = PATIENCE_MS) {
    let timer;
    const late = new Promise((_, reject) => {
        timer = setTimeout(() => reject(new Error(`waited ${ms} ms in vain: ${what}`)), ms);
    });
    return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** Waits, with the same bound, until something is so that tells nobody when it happens. */
export async function eventually(what, isSo) {
    for (const end = Date.now() + PATIENCE_MS; !isSo(); await new Promise((resolve) => setTimeout(resolve, 20))) {
        if (Date.now() > end) throw new Error(`waited ${PATIENCE_MS} ms in vain: ${what}`);
    }
}

/** A connection of nostr-tools that waits as long as we do; its own patience of 4.4 s may end before a busy machine has answered. */
export function patient(relay) {
    relay.baseEoseTimeout = relay.publishTimeout = PATIENCE_MS;
    return relay;
}

/** Budgets are renewed at midnight UTC: a suite that spends and looks at what was spent begins when the day has a minute left. */
export async function clearOfMidnight() {
    const leftMs = 86_400_000 - (Date.now() % 86_400_000);
    if (leftMs < 60_000) await new Promise((resolve) => setTimeout(resolve, leftMs + 1_000));
}

export class Hearth {
    /** `config` is TOML, added to what every suite here has. */
    static async start(config = "") {
        const hearth = new Hearth();
        hearth.folder = await mkdtemp(path.join(tmpdir(), "hearth-clients-"));
        await writeFile(path.join(hearth.folder, "config.toml"), `[rates]\nenabled = false\n${config}`);
        hearth.globals = ["--config", path.join(hearth.folder, "config.toml"), "--data", path.join(hearth.folder, "data")];
        const serve = ["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
        hearth.process = spawn(binary, [...hearth.globals, ...serve], { stdio: ["ignore", "pipe", "pipe"] });
        hearth.log = "";
        hearth.process.stderr.on("data", (bytes) => (hearth.log += bytes));
        hearth.ended = new Promise((resolve) => hearth.process.on("exit", (code, signal) => resolve({ code, signal })));
        const line = await within("the ready line", hearth.#firstLine());
        const match = /^hearth is serving at (ws:\/\/\S+) \(admin (http:\/\/\S+)\)$/.exec(line);
        if (!match) throw new Error(`not the ready line: ${line}\n${hearth.log}`);
        [, hearth.url, hearth.admin] = match;
        return hearth;
    }

    #firstLine() {
        return new Promise((resolve, reject) => {
            let text = "";
            this.process.stdout.on("data", (bytes) => {
                text += bytes;
                if (text.includes("\n")) resolve(text.slice(0, text.indexOf("\n")));
            });
            this.ended.then((how) => reject(new Error(`ended before it was ready: ${JSON.stringify(how)}\n${this.log}`)));
        });
    }

    /** A command that must succeed; its JSON where it prints any. */
    async command(...words) {
        const { stdout } = await run(binary, [...this.globals, ...words], { timeout: PATIENCE_MS });
        return words.includes("--json") ? JSON.parse(stdout) : stdout;
    }

    /** Makes a connection for an app and returns what is printed of it. */
    connect(name, ...options) {
        return this.command("wallet", "connect", name, ...options, "--json");
    }

    async fund(account, amountMsat) {
        await this.command("wallet", "fund", account, String(amountMsat));
    }

    async stop() {
        this.process.kill("SIGTERM");
        const how = await within("the end of the server", this.ended);
        await rm(this.folder, { recursive: true, force: true });
        return how;
    }
}
