// hearth's pages in a real Chromium: the relay's page, and the pages where an app of another origin asks for a connection, opened by
// NWCClient.fromAuthorizationUrl of @getalby/sdk, unmodified, in the browser. The owner decides by the command line.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { after, before, describe, test } from "node:test";

// First, because it gives older versions of Node.js a WebSocket, which the libraries look for when they are loaded.
import { Hearth, PATIENCE_MS, eventually, within } from "../support/hearth.mjs";
import { App, Browser } from "../support/browser.mjs";

import { NWCClient } from "@getalby/sdk/nwc";
import { finalizeEvent, generateSecretKey, getPublicKey } from "nostr-tools/pure";

const NAME = `Zoë's "relay" <b>&amp; ${"W".repeat(80)}`;
const CONFIG = `[relay]
name = ${JSON.stringify(NAME)}
description = "Two lines,\\none of them ${"long".repeat(60)}."
contact = "mailto:${"somebody".repeat(12)}@example.com"
trusted_proxies = ["127.0.0.1"]
`;
const STATE = "000102030405060708090a0b0c0d0e0f";
const PHONE = { width: 360, height: 740 };
const SCHEMES = ["light", "dark"];
const key = getPublicKey(generateSecretKey());

describe("the pages in a browser", () => {
    let hearth, browser, app, home;
    before(async () => {
        [hearth, browser, app] = await Promise.all([Hearth.start(CONFIG), Browser.start(), App.start()]);
        home = hearth.url.replace("ws:", "http:");
    });
    after(async () => {
        await browser?.stop();
        await app?.stop();
        assert.deepEqual(await hearth?.stop(), { code: 0, signal: null });
    });

    /** A test with a visitor of its own. */
    const visit = (name, options, body) =>
        test(name, { timeout: 2 * PATIENCE_MS }, async () => {
            const visitor = await browser.visitor(options);
            try {
                await body(visitor);
            } finally {
                await visitor.leave();
            }
        });
    const address = (parameters, path = "/connections/new") => {
        const asked = { pubkey: key, request_methods: "get_info get_balance", ...parameters };
        return `${new URL(path, home)}?${new URLSearchParams(asked)}`;
    };
    const decide = async (page, decision, ...options) => {
        const id = (await page.locator("code", { hasText: "hearth wallet approve" }).innerText()).split(" ").at(-1);
        return hearth.command("wallet", decision, id, ...options, "--json");
    };
    const approve = (page, name) => decide(page, "approve", "--yes", "--name", name, "--account", name);
    const text = (page) => page.locator("body").innerText();
    const facts = (page) =>
        page.evaluate(() => Object.fromEntries([...document.querySelectorAll("dt")].map((name) => [name.innerText, name.nextElementSibling.innerText])));
    const seen = (page) => page.evaluate(() => window.seen);
    const overflow = (page) => page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);

    /** The app's page, after its button was clicked with these arguments of fromAuthorizationUrl; and the popup. */
    const ask = async (visitor, path, options) => {
        const shop = await visitor.page(app.origin);
        await shop.evaluate((wish) => (window.wish = wish), [new URL(path, home).href, options]);
        const [popup] = await Promise.all([shop.waitForEvent("popup"), shop.locator("button:enabled").click()]);
        await popup.waitForURL(/\/[0-9a-f]{32}$/);
        return { shop, popup };
    };
    const answer = (shop) =>
        within("the app's answer", shop.evaluate(() => window.asked.then(({ relayUrls, walletPubkey }) => ({ relayUrls, walletPubkey }), String)));
    /** Calls the client that the app got, in the browser: its value, or the code of the refusal. */
    const call = (shop, method, argument) => {
        const calling = async ([method, argument]) => (await window.asked)[method](argument).catch(({ code }) => ({ code }));
        return within(method, shop.evaluate(calling, [method, argument]));
    };

    visit("the relay's page says what this relay is and loads nothing", { viewport: PHONE }, async (visitor) => {
        const page = await visitor.page(home);
        const response = await fetch(home, { headers: { accept: "application/nostr+json" } });
        const document = await response.json();
        assert.equal(await page.title(), NAME);
        assert.equal(await page.locator("h1").innerText(), NAME);
        assert.equal(document.name, NAME);
        assert.match(await text(page), /Two lines,\none of them long/);
        assert.equal(new URL(await page.locator("section code").innerText()).href, hearth.url);
        const nips = await page.locator("li").allInnerTexts();
        assert.deepEqual(nips.map((nip) => Number(/^NIP-(\d\d) \w/.exec(nip)[1])), document.supported_nips);
        const { "Relay key": relayKey, Contact: contact, "Who may write": writers } = await facts(page);
        assert.deepEqual([relayKey, contact, writers], [document.self, document.contact, "everybody"]);
        assert.ok((await overflow(page)) <= 0, "the page is wider than a phone");
        assert.deepEqual([visitor.requests, visitor.errors, await seen(page)], [[home], [], []]);
    });

    visit("an app opens the popup, the owner grants, the app pays", {}, async (visitor) => {
        const requestMethods = ["pay_invoice", "get_balance", "get_budget"];
        const { shop, popup } = await ask(visitor, "/connections/new", { requestMethods, maxAmount: 5_000, budgetRenewal: "daily" });
        const asked = await facts(popup);
        assert.deepEqual([asked.App, asked.Needs, asked.Budget], [new URL(app.origin).host, requestMethods.join(" "), "5000 msat, renewed daily"]);
        const closed = popup.waitForEvent("close");
        const granted = await approve(popup, "shop");
        await hearth.fund("shop", 20_000);
        const { relayUrls, walletPubkey } = await answer(shop);
        await closed;
        assert.deepEqual([relayUrls.map((relay) => new URL(relay).href), walletPubkey], [[hearth.url], granted.wallet_pubkey]);

        const { uri } = await hearth.connect("till", "--account", "till");
        const till = new NWCClient({ nostrWalletConnectUrl: uri });
        const cheap = await within("make_invoice", till.makeInvoice({ amount: 3_000 }));
        const dear = await within("make_invoice", till.makeInvoice({ amount: 3_000 }));
        till.close();
        const { preimage } = await call(shop, "payInvoice", { invoice: cheap.invoice });
        assert.equal(createHash("sha256").update(Buffer.from(preimage, "hex")).digest("hex"), cheap.payment_hash);
        assert.equal((await call(shop, "getBalance")).balance, 17_000);
        const { total_budget: total, used_budget: used } = await call(shop, "getBudget");
        assert.deepEqual([total, used], [5_000, 3_000]);
        assert.deepEqual(visitor.errors, []);
        assert.ok(visitor.requests.every((url) => [home, `${app.origin}/`, "data:,"].some((start) => url.startsWith(start))), visitor.requests.join(" "));
        // What is refused is told to the console by the client itself.
        assert.deepEqual(await call(shop, "payInvoice", { invoice: dear.invoice }), { code: "QUOTA_EXCEEDED" });
        assert.deepEqual(await call(shop, "makeInvoice", { amount: 1_000 }), { code: "RESTRICTED" });
    });

    visit("what is declined is said with words, and the app learns that the popup was closed", { viewport: PHONE }, async (visitor) => {
        const name = "<script>window.opener.pwned()</script>";
        const { shop, popup } = await ask(visitor, "/apps/new", { name, requestMethods: ["get_info"] });
        await decide(popup, "decline");
        await popup.reload();
        await popup.getByRole("heading", { name: "Declined" }).waitFor();
        assert.match(await text(popup), /owner has declined this request/);
        assert.deepEqual([(await facts(popup)).App, await seen(popup), await seen(shop)], [name, [], []]);
        assert.deepEqual(await popup.evaluate(() => window.successes), []);
        await popup.close();
        assert.match(await answer(shop), /Popup closed/);
        assert.deepEqual(visitor.errors, []);
    });

    visit("a page that nobody opened shows the grant and tells it to the app whose web view it is in", { viewport: PHONE }, async (visitor) => {
        const page = await visitor.page(address({ state: STATE, name: "W".repeat(64) }));
        const { wallet_pubkey: wallet } = await approve(page, "view");
        await page.reload();
        assert.match(await text(page), /^Granted\n/);
        const relay = hearth.url.replace(/\/$/, "");
        assert.deepEqual(await facts(page), { "Wallet key": wallet, Relay: relay, State: STATE });
        const expected = { type: "nwc:success", relayUrl: relay, relayUrls: [relay], walletPubkey: wallet, state: STATE, lud16: undefined };
        assert.deepEqual(await page.evaluate(() => window.successes), [expected]);
        assert.deepEqual([await seen(page), visitor.errors, (await overflow(page)) <= 0], [[], [], true]);
    });

    visit("return_to brings the browser back to the app, which goes on there", {}, async (visitor) => {
        const secret = Buffer.from(generateSecretKey()).toString("hex");
        const pubkey = getPublicKey(Buffer.from(secret, "hex"));
        const page = await visitor.page(address({ pubkey, state: STATE, return_to: `${app.origin}/done?basket=7` }));
        const { wallet_pubkey: wallet } = await approve(page, "back");
        await page.reload();
        await page.waitForURL(`${app.origin}/done?*`);
        const { searchParams } = new URL(page.url());
        const relay = searchParams.get("relay");
        assert.deepEqual([...searchParams], [["basket", "7"], ["relay", relay], ["pubkey", wallet], ["state", STATE]]);
        assert.equal(new URL(relay).href, hearth.url);
        await page.locator("button:enabled").waitFor();
        await page.evaluate((options) => (window.asked = Promise.resolve(new window.NWCClient(options))), { relayUrls: [relay], walletPubkey: wallet, secret });
        assert.equal((await call(page, "getBalance")).balance, 0);
    });

    visit("an app that the browser does not open is a link on the page that says it was granted", { viewport: PHONE }, async (visitor) => {
        const page = await visitor.page(address({ return_to: "zapapp://done?to=\"'<b>" }));
        const { wallet_pubkey: wallet } = await approve(page, "phone");
        const tried = page.waitForEvent("requestfailed");
        await page.reload({ waitUntil: "commit" });
        assert.match((await tried).url(), /^zapapp:/);
        await page.getByRole("heading", { name: "Granted" }).waitFor();
        const target = await page.getByRole("link").getAttribute("href");
        assert.match(target, new RegExp(`^zapapp://done\\?to=%22'%3Cb%3E&relay=ws%3A%2F%2F127[^&]*&pubkey=${wallet}$`));
        assert.deepEqual(await seen(page), []);
    });

    visit("no page of hearth is shown in a frame", {}, async (visitor) => {
        const waiting = await visitor.page(address({ name: "framed" }));
        const shop = await visitor.page(app.origin);
        const framed = async (url) => {
            const loading = (url) =>
                new Promise((resolve) => {
                    const frame = document.createElement("iframe");
                    frame.addEventListener("load", () => resolve());
                    frame.src = url;
                    document.body.append(frame);
                });
            await within(`a frame of ${url}`, shop.evaluate(loading, url));
            return shop.frames().at(-1);
        };
        const inner = `${app.origin}/inner`;
        const own = await framed(inner);
        await eventually("our own frame", () => own.url() === inner);
        for (const url of [home, address({ name: "frame" }), address({ pubkey: "x" }), waiting.url()]) {
            const frame = await framed(url);
            await eventually(`the refusal to frame ${url}`, () => frame.url() === "chrome-error://chromewebdata/");
        }
        await eventually("what the console says", () => visitor.errors.filter((words) => words.includes("frame-ancestors")).length === 4);
    });

    // What closes what it may stand in; and addresses that a browser would follow or load.
    const MARKUP = [
        "<script>pwned()</script>\"><img src=x onerror=pwned()>",
        "'><svg onload=pwned()></svg><b x='{{granted}}{{refresh}}",
        "</title></style></template><script>pwned()</script>",
    ];
    const ADDRESSES = [
        "javascript:pwned()",
        "data:text/html,<script>pwned()</script>",
        "zapapp:\"><script>pwned()</script>",
        "https://app.example/?\"><script>pwned()</script>",
    ];
    const PARAMETERS = [
        ...["pubkey", "state", "name", "icon", "return_to", "request_methods", "optional_request_methods", "notification_types"],
        ...["max_amount", "renewal_period", "budget_renewal", "expires_at", "isolated", "relay", "metadata", "something_else"],
    ];
    const evils = (parameter) => (["icon", "return_to", "relay"].includes(parameter) ? [...MARKUP, ...ADDRESSES] : MARKUP);
    // Without the pages' policy, so that what is found here is what was escaped.
    visit("no parameter writes HTML or runs a script", { bypassCSP: true }, async (visitor) => {
        const page = await visitor.page(home);
        await page.evaluate(() => document.body.insertAdjacentHTML("beforeend", "<img src=x onerror=pwned()>"));
        await page.waitForFunction(() => window.seen.length > 0);
        const known = new Set(["html", "head", "meta", "title", "style", "body", "main", "h1", "p", "code", "dl", "dt", "dd"]);
        const look = () => {
            const elements = [...document.querySelectorAll("*")];
            const names = elements.flatMap(({ localName, attributes }) => [localName, ...[...attributes].map(({ name }) => name).filter((name) => /^on/.test(name))]);
            const app = [...document.querySelectorAll("dt")].find(({ innerText }) => innerText === "App")?.nextElementSibling.innerText;
            return { names: [...new Set(names)], app, text: document.body.innerText, seen: window.seen };
        };
        let accepted = 0;
        for (const parameter of PARAMETERS) {
            for (const evil of evils(parameter)) {
                // Four may wait for one address.
                await visitor.moves();
                const value = parameter === "metadata" ? JSON.stringify({ evil }) : evil;
                await page.goto(address({ [parameter]: value }));
                const { names, app, text, seen } = await page.evaluate(look);
                const what = `${parameter}=${value}`;
                assert.deepEqual([names.filter((name) => !known.has(name)), seen], [[], []], what);
                const isAsked = /\/connections\/[0-9a-f]{32}$/.test(page.url());
                assert.match(text, isAsked ? /^Waiting for/ : /^This cannot be granted/, what);
                if (parameter === "name") assert.equal(app, evil);
                if (parameter === "return_to") assert.equal(isAsked, /^(https|zapapp):/.test(evil), what);
                accepted += isAsked ? 1 : 0;
            }
        }
        assert.ok(accepted > 4 * MARKUP.length, `only ${accepted} were taken, so hardly anything was shown`);
    });

    visit("the pages' policy stops what would have been written into them", {}, async (visitor) => {
        for (const url of [home, address({ name: "policy" })]) {
            const page = await visitor.page(url);
            const smuggle = (origin) => {
                document.body.insertAdjacentHTML("beforeend", "<img src=x onerror=pwned()><a id=link href=javascript:pwned()>x</a>");
                for (const script of [{ textContent: "pwned()" }, { src: `${origin}/nwc.js` }]) {
                    document.body.append(Object.assign(document.createElement("script"), script));
                }
                document.getElementById("link").click();
                return fetch(origin).then(() => "fetched", () => "refused");
            };
            assert.equal(await within("the policy", page.evaluate(smuggle, app.origin)), "refused");
            const stopped = ["connect-src", "img-src", "script-src-attr", "script-src-elem", "script-src-elem", "script-src-elem"];
            await page.waitForFunction((count) => window.seen.length >= count, stopped.length);
            const found = (await seen(page)).sort();
            assert.deepEqual(found, stopped.map((directive) => `policy: ${directive}`), url);
        }
    });

    for (const colorScheme of SCHEMES) {
        visit(`what is written can be read, ${colorScheme}, on a phone`, { colorScheme, viewport: PHONE }, async (visitor) => {
            /** The least contrast of any text with what is behind it, as WCAG counts. */
            const contrast = () => {
                const numbers = (color) => color.match(/[\d.]+/g).map(Number);
                const light = (color) => {
                    const [red, green, blue] = numbers(color).map((part) => (part / 255 <= 0.04045 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4));
                    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
                };
                const behind = (element) => {
                    const color = getComputedStyle(element).backgroundColor;
                    return (numbers(color)[3] ?? 1) > 0 ? color : behind(element.parentElement);
                };
                const of = (element) => {
                    const [dark, bright] = [light(getComputedStyle(element).color), light(behind(element))].sort((one, other) => one - other);
                    return (bright + 0.05) / (dark + 0.05);
                };
                return Math.min(...[...document.querySelectorAll("h1, h2, p, a, code, dt, dd, li, footer")].map(of));
            };
            const long = { name: "W".repeat(64), state: STATE.repeat(8), return_to: `https://app.example/${"x".repeat(500)}`, expires_at: "4000000000" };
            for (const url of [home, address(long), address({ request_methods: "M".repeat(200) }), `${home}connections/${STATE}`]) {
                const page = await visitor.page(url);
                assert.ok((await overflow(page)) <= 0, `${url} is wider than a phone`);
                assert.ok((await page.evaluate(contrast)) >= 4.5, url);
                assert.equal(await page.evaluate(() => getComputedStyle(document.documentElement).colorScheme), "light dark");
            }
        });
    }

    visit("a page of another origin reads NIP-11 and speaks with the relay", { extraHTTPHeaders: {} }, async (visitor) => {
        const shop = await visitor.page(app.origin);
        const read = async (headers) => {
            const response = await fetch(headers.home, { headers: { accept: "application/nostr+json", ...headers.more } });
            return [response.status, response.headers.get("content-type"), (await response.json()).name];
        };
        // The second needs the browser's question before: no page may send such a header unasked.
        for (const more of [{}, { "x-app": "shop" }]) {
            const found = await within("NIP-11", shop.evaluate(read, { home, more }));
            assert.deepEqual(found, [200, "application/nostr+json", NAME]);
        }
        const note = finalizeEvent({ kind: 1, created_at: Math.floor(Date.now() / 1_000), tags: [], content: "from a page" }, generateSecretKey());
        const talk = ([url, note]) =>
            new Promise((resolve, reject) => {
                const socket = new WebSocket(url);
                const frames = [];
                const send = (frame) => socket.send(JSON.stringify(frame));
                socket.onopen = () => send(["EVENT", note]);
                socket.onclose = ({ code }) => reject(new Error(`closed: ${code}`));
                socket.onmessage = ({ data }) => {
                    const frame = JSON.parse(data);
                    frames.push(frame);
                    if (frame[0] === "OK") send(["REQ", "own", { ids: [note.id] }]);
                    if (frame[0] === "EOSE") resolve(frames);
                };
            });
        const frames = await within("the relay's answers", shop.evaluate(talk, [hearth.url, note]));
        const stored = JSON.parse(JSON.stringify(note));
        const answers = [["OK", note.id, true, ""], ["EVENT", "own", stored], ["EOSE", "own"]];
        assert.deepEqual(frames, answers);
        assert.deepEqual(visitor.errors, []);
    });
});
