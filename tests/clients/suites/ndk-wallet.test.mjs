// NDK's wallet, unmodified, against the URI that `hearth wallet connect` prints. It speaks NIP-04 and waits by `#e` alone.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { after, before, describe, test } from "node:test";

// First, because it gives older versions of Node.js a WebSocket, which the libraries look for when they are loaded.
import { Hearth, within } from "../support/hearth.mjs";
import { Findings } from "../support/matrix.mjs";

import NDK from "@nostr-dev-kit/ndk";
import { NDKNWCWallet } from "@nostr-dev-kit/ndk-wallet";

const hashOf = (preimage) => createHash("sha256").update(Buffer.from(preimage, "hex")).digest("hex");

describe("NDK's wallet", () => {
    let hearth, payer, payee;
    const opened = [];
    const found = new Findings("NDK wallet (NIP-04)");
    const open = async (...options) => {
        const { uri } = await hearth.connect(...options);
        const ndk = new NDK({ explicitRelayUrls: [hearth.url], enableOutboxModel: false });
        ndk.connect(5_000);
        const wallet = new NDKNWCWallet(ndk, { pairingCode: uri, timeout: 30_000 });
        opened.push(ndk, wallet);
        return wallet;
    };
    before(async () => {
        hearth = await Hearth.start();
        payer = await open("payer", "--account", "payer");
        await hearth.fund("payer", 1_000_000);
        payee = await open("payee", "--account", "payee");
    });
    after(async () => {
        for (const one of opened) {
            for (const relay of one.pool?.relays?.values() ?? []) relay.disconnect();
        }
        await hearth.stop();
    });

    /** A request by its own sender, which rejects with the whole answer where that is a refusal. */
    const ask = (wallet, method, params) =>
        within(method, wallet.req(method, params)).then(
            ({ result }) => result,
            ({ error, ...failure }) => {
                throw error ? Object.assign(new Error(error.message), { code: error.code }) : failure;
            },
        );

    test("reading", async () => {
        const info = await found.call("get_info", within("get_info", payer.getInfo()));
        assert.ok(info.methods.includes("pay_invoice"), JSON.stringify(info));
        await within("balance", payer.updateBalance());
        assert.equal(payer.balance.amount, 1_000);
        assert.equal((await found.call("get_balance", ask(payer, "get_balance", {}))).balance, 1_000_000);
    });

    test("an invoice is made, paid, looked up and listed", async () => {
        const made = await found.call("make_invoice", within("make_invoice", payee.makeInvoice(250_000, "from NDK")));
        const paid = await found.call("pay_invoice", ask(payer, "pay_invoice", { invoice: made.invoice }));
        assert.equal(hashOf(paid.preimage), made.payment_hash);
        const seen = await found.call("lookup_invoice", ask(payee, "lookup_invoice", { payment_hash: made.payment_hash }));
        assert.equal(seen.preimage, paid.preimage);
        const listed = await found.call("list_transactions", within("list", payee.listTransactions()));
        assert.equal(listed.transactions[0].description, "from NDK");
    });

    test("its way to pay an invoice", async () => {
        const made = await payee.makeInvoice(1_000, "zap");
        const paid = await within("lnPay", payer.lnPay({ pr: made.invoice }));
        assert.equal(hashOf(paid.preimage), made.payment_hash);
    });

    test("all of it is as the table says", () => found.check());
});
