// A wallet service of somebody else, NWCWalletService of @getalby/sdk, serves a key of its own through hearth as through any relay.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { after, before, describe, test } from "node:test";

// First, because it gives older versions of Node.js a WebSocket, which the libraries look for when they are loaded.
import { Hearth, patient, within } from "../support/hearth.mjs";

import { NWCClient, NWCWalletService, NWCWalletServiceKeyPair } from "@getalby/sdk/nwc";
import NDK from "@nostr-dev-kit/ndk";
import { NDKNWCWallet } from "@nostr-dev-kit/ndk-wallet";
import { generateSecretKey, getPublicKey } from "nostr-tools/pure";
import { Relay } from "nostr-tools/relay";
import { bytesToHex } from "nostr-tools/utils";

const BALANCE_MSAT = 424_242;
const PREIMAGE = "11".repeat(32);

describe("an outside wallet service", () => {
    let hearth, service, stop, uri;
    const asked = [];
    before(async () => {
        hearth = await Hearth.start();
        const [wallet, secret] = [generateSecretKey(), generateSecretKey()];
        const keys = new NWCWalletServiceKeyPair(bytesToHex(wallet), getPublicKey(secret));
        service = new NWCWalletService({ relayUrls: [hearth.url] });
        await within("13194", service.publishWalletServiceInfoEvent(bytesToHex(wallet), ["get_balance", "pay_invoice"], []));
        stop = await within("subscription", service.subscribe(keys, {
            getBalance: async () => {
                asked.push("get_balance");
                return { result: { balance: BALANCE_MSAT }, error: undefined };
            },
            payInvoice: async ({ invoice }) => {
                asked.push(invoice);
                return invoice === "no"
                    ? { result: undefined, error: { code: "PAYMENT_FAILED", message: "no" } }
                    : { result: { preimage: PREIMAGE }, error: undefined };
            },
        }));
        const relay = encodeURIComponent(hearth.url);
        uri = `nostr+walletconnect://${getPublicKey(wallet)}?relay=${relay}&secret=${bytesToHex(secret)}`;
    });
    after(async () => {
        stop?.();
        service?.close();
        await hearth.stop();
    });

    test("@getalby/sdk asks it", async () => {
        const client = new NWCClient({ nostrWalletConnectUrl: uri });
        assert.equal((await within("get_balance", client.getBalance())).balance, BALANCE_MSAT);
        assert.equal((await within("pay_invoice", client.payInvoice({ invoice: "yes" }))).preimage, PREIMAGE);
        await assert.rejects(within("refusal", client.payInvoice({ invoice: "no" })), { code: "PAYMENT_FAILED" });
        client.close();
    });

    test("NDK's wallet asks it", async () => {
        const ndk = new NDK({ explicitRelayUrls: [hearth.url], enableOutboxModel: false });
        ndk.connect(5_000);
        const wallet = new NDKNWCWallet(ndk, { pairingCode: uri, timeout: 30_000 });
        const before = asked.length;
        const { error, result } = await within("get_balance", wallet.req("get_balance", {}));
        assert.equal(error ?? null, null);
        assert.equal(result.balance, BALANCE_MSAT);
        assert.ok(asked.length > before);
        for (const one of [ndk, wallet]) for (const relay of one.pool?.relays?.values() ?? []) relay.disconnect();
    });

    test("hearth keeps none of it for those who cannot name it", async () => {
        const relay = patient(await Relay.connect(hearth.url));
        const seen = [];
        await within("EOSE", new Promise((resolve) => {
            relay.subscribe([{}, { kinds: [13194, 23194, 23195] }], { onevent: (event) => seen.push(event), oneose: resolve });
        }));
        assert.deepEqual(seen, []);
        assert.deepEqual(await hearth.command("wallet", "list", "--json").then((list) => JSON.stringify(list).length < 64), true);
        relay.close();
    });
});
