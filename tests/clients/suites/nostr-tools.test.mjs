// nostr-tools, unmodified, as an ordinary client of the relay.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

// First, because it gives older versions of Node.js a WebSocket, which the libraries look for when they are loaded.
import { Hearth, PATIENCE_MS, patient, within } from "../support/hearth.mjs";

import { finalizeEvent, generateSecretKey, getPublicKey, verifyEvent } from "nostr-tools/pure";
import { SimplePool } from "nostr-tools/pool";
import { Relay } from "nostr-tools/relay";
import { fetchRelayInformation } from "nostr-tools/nip11";
import { makeAuthEvent } from "nostr-tools/nip42";

const now = () => Math.floor(Date.now() / 1000);

describe("nostr-tools", () => {
    let hearth, relay;
    before(async () => {
        hearth = await Hearth.start();
        relay = patient(await Relay.connect(hearth.url));
    });
    after(async () => {
        relay?.close();
        assert.deepEqual(await hearth.stop(), { code: 0, signal: null });
    });

    const note = (key, content, more = {}) => finalizeEvent({ kind: 1, created_at: now(), tags: [], content, ...more }, key);

    /** Stored events of a filter. */
    const stored = (...filters) =>
        within("EOSE", new Promise((resolve, reject) => {
            const found = [];
            const subscription = relay.subscribe(filters, {
                onevent: (event) => found.push(event),
                oneose: () => {
                    subscription.close();
                    resolve(found);
                },
                onclose: (reason) => reason === "closed by caller" || reject(new Error(reason)),
            });
        }));

    test("a note is published and read back", async () => {
        const key = generateSecretKey();
        const event = note(key, "hello \u{1f525}\n\"quoted\" \u2028 \u007f", { tags: [["t", "hearth"], ["alt", "x"]] });
        await within("OK", relay.publish(event));
        for (const filter of [{ ids: [event.id] }, { authors: [getPublicKey(key)] }, { "#t": ["hearth"], kinds: [1] }]) {
            const [found, ...others] = await stored(filter);
            assert.deepEqual(others, []);
            assert.equal(found.id, event.id);
            assert.equal(found.content, event.content);
            assert.ok(verifyEvent(found));
        }
    });

    test("a subscription hears what comes later", async () => {
        const key = generateSecretKey();
        const pool = new SimplePool({ maxWaitForConnection: PATIENCE_MS });
        const heard = within("the live event", new Promise((resolve) => {
            pool.subscribeMany([hearth.url], { authors: [getPublicKey(key)] }, {
                onevent: resolve,
                oneose: () => relay.publish(note(key, "live")),
            });
        }));
        assert.equal((await heard).content, "live");
        pool.close([hearth.url]);
    });

    test("only the newest profile is kept", async () => {
        const key = generateSecretKey();
        for (const [age, name] of [[30, "old"], [10, "new"], [20, "between"]]) {
            const profile = note(key, JSON.stringify({ name }), { kind: 0, created_at: now() - age });
            await relay.publish(profile).catch((reason) => assert.match(String(reason), /duplicate:/));
        }
        const found = await stored({ kinds: [0], authors: [getPublicKey(key)] });
        assert.deepEqual(found.map((event) => JSON.parse(event.content).name), ["new"]);
    });

    test("a deletion deletes", async () => {
        const key = generateSecretKey();
        const event = note(key, "soon gone");
        await relay.publish(event);
        await relay.publish(note(key, "", { kind: 5, tags: [["e", event.id]] }));
        assert.deepEqual(await stored({ ids: [event.id] }), []);
    });

    test("a refusal reaches the one who published", async () => {
        const key = generateSecretKey();
        const late = note(key, "from the far future", { created_at: now() + 100_000 });
        await assert.rejects(within("OK false", relay.publish(late)), /invalid: /);
        const spoilt = { ...note(key, "a"), content: "b" };
        await assert.rejects(within("OK false", relay.publish(spoilt)), /invalid: /);
    });

    test("counting counts", async () => {
        const key = generateSecretKey();
        await Promise.all([1, 2, 3].map((n) => relay.publish(note(key, `${n}`))));
        assert.equal(await within("COUNT", relay.count([{ authors: [getPublicKey(key)] }], {})), 3);
    });

    test("a protected event is taken after authentication", async () => {
        const key = generateSecretKey();
        const own = patient(await Relay.connect(hearth.url));
        const event = note(key, "mine", { tags: [["-"]] });
        await assert.rejects(within("OK false", own.publish(event)), /auth-required: /);
        await within("AUTH", own.auth(async (template) => finalizeEvent(template, key)));
        await within("OK", own.publish(event));
        own.close();
        assert.equal(makeAuthEvent(hearth.url, "x").kind, 22242);
    });

    test("the relay says what it is", async () => {
        const info = await fetchRelayInformation(hearth.url);
        assert.ok(info.supported_nips.includes(47));
        assert.equal(info.limitation.max_subscriptions, 200);
    });
});
