// `NWCClient.fromAuthorizationUrl` of @getalby/sdk, unmodified: it opens hearth's page as a popup, the owner grants what is asked there, and
// the page tells the app. No browser takes part: the popup here loads the page as one would (redirects, refreshes) and runs its script,
// if the page's own policy lets it, in a window that has an opener.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { after, before, describe, test } from "node:test";
import vm from "node:vm";

// First, because it gives older versions of Node.js a WebSocket, which the libraries look for when they are loaded.
import { Hearth, PATIENCE_MS, within } from "../support/hearth.mjs";

import { NWCClient } from "@getalby/sdk/nwc";

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const unescaped = (text) => text.replaceAll("&quot;", '"').replaceAll("&#39;", "'").replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");

/** The parts of a browser that the client and our page use. */
class Browser {
    #listeners = new Set();
    outerHeight = 1_000;
    outerWidth = 1_000;
    screenX = 0;
    screenY = 0;
    closed = 0;
    ran = 0;
    events = [];

    addEventListener(type, listener) {
        if (type === "message") this.#listeners.add(listener);
    }

    removeEventListener(type, listener) {
        this.#listeners.delete(listener);
    }

    open(url) {
        const popup = { closed: false, close: () => ((popup.closed = true), (this.closed += 1)) };
        this.page = this.#load(url, popup);
        this.page.catch(() => popup.close());
        return popup;
    }

    /** Loads a page, and again for as long as it says so. */
    async #load(url, popup) {
        const end = Date.now() + PATIENCE_MS;
        while (!popup.closed && Date.now() < end) {
            const response = await fetch(url);
            const html = await response.text();
            url = response.url;
            this.shown = html;
            const script = /<script>([^]*?)<\/script>/.exec(html)?.[1];
            if (script !== undefined) return this.#run(script, html, response);
            if (!html.includes('http-equiv="refresh"')) throw new Error(`the page ends here: ${html}`);
            await pause(100);
        }
    }

    #run(script, html, response) {
        const allowed = `script-src 'sha256-${createHash("sha256").update(script).digest("base64")}'`;
        assert.ok(response.headers.get("content-security-policy").includes(allowed), "the page's policy forbids its own script");
        const attributes = /<template id="granted"([^>]*)>/.exec(html)[1].matchAll(/ data-(\w+)="([^"]*)"/g);
        const dataset = Object.fromEntries([...attributes].map(([, name, value]) => [name, unescaped(value)]));
        const { origin } = new URL(response.url);
        const postMessage = (data, target) => {
            assert.equal(target, "*");
            for (const listener of [...this.#listeners]) listener({ data: structuredClone(data), origin });
        };
        const document = { getElementById: (id) => (id === "granted" ? { dataset } : null) };
        const window = { opener: { postMessage }, dispatchEvent: (event) => this.events.push(event) };
        this.ran += 1;
        vm.runInNewContext(script, { window, document, CustomEvent });
    }
}

describe("@getalby/sdk, by a popup", () => {
    let hearth, browser;
    before(async () => {
        hearth = await Hearth.start();
        browser = new Browser();
        globalThis.window = browser;
        globalThis.document = { title: "A shop", location: { host: "shop.example" } };
    });
    after(async () => {
        delete globalThis.window;
        delete globalThis.document;
        await hearth.stop();
    });

    const ask = (options) => NWCClient.fromAuthorizationUrl(new URL("/apps/new", hearth.url.replace("ws:", "http:")).href, options);
    const waiting = async () => {
        for (const end = Date.now() + PATIENCE_MS; Date.now() < end; await pause(50)) {
            const { pending } = await hearth.command("wallet", "pending", "--json");
            if (pending.length > 0) return pending[0];
        }
        throw new Error("nobody asked");
    };

    test("the owner grants, the app gets its client and the popup is closed", async () => {
        const asked = ask({ requestMethods: ["get_balance", "get_budget"], maxAmount: 5_000, budgetRenewal: "daily" });
        asked.catch(() => {});
        const { id, name } = await waiting();
        assert.equal(name, "shop.example");
        await hearth.command("wallet", "approve", id, "--yes", "--account", "shop", "--json");
        const client = await within("nwc:success", asked);
        await within("the popup's script", browser.page);
        assert.deepEqual([browser.ran, browser.closed], [1, 1]);
        assert.equal(browser.events[0].type, "nwc:success");
        assert.equal(browser.events[0].detail.walletPubkey, client.walletPubkey);
        assert.deepEqual(client.relayUrls.map((relay) => new URL(relay).href), [hearth.url]);
        assert.equal((await within("get_balance", client.getBalance())).balance, 0);
        assert.equal((await within("get_budget", client.getBudget())).total_budget, 5_000);
        await assert.rejects(within("refusal", client.makeInvoice({ amount: 1_000 })), { code: "RESTRICTED" });
        client.close();
    });

    test("what is declined runs no script", async () => {
        const asked = ask({ name: "<script>window.opener.x</script>", requestMethods: ["get_info"] });
        asked.catch(() => {});
        const { id } = await waiting();
        await hearth.command("wallet", "decline", id, "--json");
        await assert.rejects(within("the end of the popup", asked), /Popup closed/);
        assert.match(browser.shown, /has declined/);
        assert.equal(browser.ran, 1);
    });
});
