// The nip47 helpers of nostr-tools, unmodified: they read the pairing code and make one request, in NIP-04.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { after, before, describe, test } from "node:test";

// First, because it gives older versions of Node.js a WebSocket, which the libraries look for when they are loaded.
import { Hearth, patient, within } from "../support/hearth.mjs";
import { Findings } from "../support/matrix.mjs";

import { NWCClient } from "@getalby/sdk/nwc";
import { nip04, nip47 } from "nostr-tools";
import { Relay } from "nostr-tools/relay";

const hexToBytes = (hex) => Uint8Array.from(Buffer.from(hex, "hex"));

describe("nostr-tools nip47", () => {
    let hearth, relay, payee;
    const found = new Findings("nostr-tools (NIP-04)");
    before(async () => {
        hearth = await Hearth.start();
        relay = patient(await Relay.connect(hearth.url));
        payee = new NWCClient({ nostrWalletConnectUrl: (await hearth.connect("payee", "--account", "payee")).uri });
    });
    after(async () => {
        relay?.close();
        payee?.close();
        await hearth.stop();
    });

    /** Publishes a request that the library made, in either order with the subscription, and reads the answer. */
    async function exchange(connection, request, publishFirst) {
        const answer = () =>
            new Promise((resolve) => {
                relay.subscribe([{ kinds: [23195], authors: [connection.pubkey], "#e": [request.id] }], { onevent: resolve });
            });
        if (publishFirst) await within("OK", relay.publish(request));
        const waiting = answer();
        if (!publishFirst) await within("OK", relay.publish(request));
        const event = await within("the answer", waiting);
        return JSON.parse(nip04.decrypt(hexToBytes(connection.secret), connection.pubkey, event.content));
    }

    test("it reads the pairing code and pays", async () => {
        const { uri } = await hearth.connect("payer", "--account", "payer");
        await hearth.fund("payer", 1_000_000);
        const connection = nip47.parseConnectionString(uri);
        assert.deepEqual(connection.relays.map((url) => url.replace(/\/$/, "")), [hearth.url.replace(/\/$/, "")]);
        for (const publishFirst of [true, false]) {
            const made = await payee.makeInvoice({ amount: 21_000 });
            const request = await nip47.makeNwcRequestEvent(connection.pubkey, hexToBytes(connection.secret), made.invoice);
            const answer = exchange(connection, request, publishFirst).then(({ error, result }) => {
                if (error) throw Object.assign(new Error(error.message), { code: error.code });
                return result;
            });
            const paid = await found.call("pay_invoice", answer);
            assert.equal(createHash("sha256").update(Buffer.from(paid.preimage, "hex")).digest("hex"), made.payment_hash);
        }
    });

    test("all of it is as the table says", () => found.check());
});
