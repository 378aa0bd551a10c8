// A real Chromium for a suite, visitors in it who note what happens to them, and an app's own pages on another origin.
import { spawnSync } from "node:child_process";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { fileURLToPath } from "node:url";

import { chromium } from "playwright-core";

import { PATIENCE_MS } from "./hearth.mjs";

/** What a Chromium may be called; scripts/setup.sh looks for the same. */
const NAMES = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
const FLAGS = [
    "--no-first-run",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    // Nothing outside this machine can be reached, whatever a page or the browser itself asks for.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
];

/** The browser that CHROMIUM names, or the first on the PATH that starts: a name alone may be a stub that only asks for a snap. */
function executable() {
    const names = process.env.CHROMIUM ? [process.env.CHROMIUM] : NAMES;
    const found = names.find((name) => spawnSync(name, ["--version"], { timeout: PATIENCE_MS }).status === 0);
    if (!found) throw new Error(`no ${names.join(", ")} here starts; scripts/setup.sh test installs one, CHROMIUM=PATH names another`);
    if (found.includes("/")) return found;
    return spawnSync("sh", ["-c", `command -v ${found}`], { encoding: "utf8" }).stdout.trim();
}

export class Browser {
    static async start() {
        const browser = new Browser();
        // A window that a page opens by itself is blocked, as for people; the driver's default would let it.
        const ignoreDefaultArgs = ["--disable-popup-blocking"];
        browser.chromium = await chromium.launch({ executablePath: executable(), args: FLAGS, ignoreDefaultArgs, timeout: PATIENCE_MS });
        return browser;
    }

    /** Somebody who shares nothing with the others. */
    async visitor(options = {}) {
        const context = await this.chromium.newContext(options);
        context.setDefaultTimeout(PATIENCE_MS);
        const visitor = new Visitor(context);
        await context.addInitScript(lookout);
        await visitor.moves();
        return visitor;
    }

    async stop() {
        await this.chromium.close();
    }
}

/** Runs in every page before its own scripts. `seen` is what ran that must not, and what the page's policy stopped. */
function lookout() {
    window.seen = [];
    window.successes = [];
    window.pwned = () => window.seen.push("ran");
    window.addEventListener("nwc:success", ({ detail }) => window.successes.push(detail));
    document.addEventListener("securitypolicyviolation", (event) => window.seen.push(`policy: ${event.effectiveDirective}`));
}

class Visitor {
    static #addresses = 0;

    /** Addresses that were asked for. */
    requests = [];
    /** What a console shows in red, but for answers with an error status. */
    errors = [];

    constructor(context) {
        this.context = context;
        context.on("request", (request) => this.requests.push(request.url()));
        context.on("weberror", (error) => this.errors.push(String(error.error())));
        context.on("console", (message) => {
            const isStatus = message.text().startsWith("Failed to load resource: the server responded with");
            if (message.type() === "error" && !isStatus) this.errors.push(message.text());
        });
    }

    /** To another address, as the proxy tells it that the tests play. */
    async moves() {
        Visitor.#addresses += 1;
        await this.context.setExtraHTTPHeaders({ "x-forwarded-for": `10.0.0.${Visitor.#addresses}` });
    }

    /** A page that has been loaded. */
    async page(url) {
        const page = await this.context.newPage();
        await page.goto(url);
        return page;
    }

    async leave() {
        await this.context.close();
    }
}

const APP = `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>A shop</title><link rel="icon" href="data:,"></head>
<body><button disabled>Connect a wallet</button><script type="module">
import { NWCClient } from "/nwc.js";
window.NWCClient = NWCClient;
const button = document.querySelector("button");
button.addEventListener("click", () => {
    window.asked = NWCClient.fromAuthorizationUrl(...window.wish);
    window.asked.catch(() => {});
});
button.disabled = false;
</script></body></html>`;

/** An app's web site: one page at every path, with the unmodified NWCClient of @getalby/sdk and a button that opens its popup. */
export class App {
    static async start() {
        const app = new App();
        const library = await readFile(fileURLToPath(import.meta.resolve("@getalby/sdk/nwc")));
        app.server = createServer((request, response) => {
            const isLibrary = request.url === "/nwc.js";
            response.setHeader("content-type", isLibrary ? "text/javascript" : "text/html; charset=utf-8");
            response.end(isLibrary ? library : APP);
        });
        await new Promise((resolve, reject) => app.server.once("error", reject).listen(0, "127.0.0.1", resolve));
        // Another site than 127.0.0.1, not only another port of it.
        app.origin = `http://localhost:${app.server.address().port}`;
        return app;
    }

    async stop() {
        this.server.closeAllConnections();
        await new Promise((resolve) => this.server.close(resolve));
    }
}
