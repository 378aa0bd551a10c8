// NWCClient of @getalby/sdk, unmodified, against the URI that `hearth wallet connect` prints.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { after, before, describe, test } from "node:test";

// First, because it gives older versions of Node.js a WebSocket, which the libraries look for when they are loaded.
import { Hearth, clearOfMidnight, within } from "../support/hearth.mjs";

import { NWCClient } from "@getalby/sdk/nwc";

const client = (connection) => new NWCClient({ nostrWalletConnectUrl: connection.uri });
const hashOf = (preimage) => createHash("sha256").update(Buffer.from(preimage, "hex")).digest("hex");

describe("@getalby/sdk NWCClient", () => {
    let hearth, payer, payee;
    before(async () => {
        await clearOfMidnight();
        hearth = await Hearth.start();
        payer = client(await hearth.connect("payer", "--account", "payer", "--budget-msat", "600000", "--renewal", "daily"));
        await hearth.fund("payer", 1_000_000);
        payee = client(await hearth.connect("payee", "--account", "payee"));
    });
    after(async () => {
        payer?.close();
        payee?.close();
        assert.deepEqual(await hearth.stop(), { code: 0, signal: null });
    });

    test("it learns from the info event what the wallet can", async () => {
        const info = await within("13194", payer.getWalletServiceInfo());
        assert.ok(info.encryptions.includes("nip44_v2"));
        for (const method of ["pay_invoice", "make_invoice", "lookup_invoice", "get_balance", "get_info", "list_transactions"]) {
            assert.ok(info.capabilities.includes(method), method);
        }
    });

    test("get_info and get_balance", async () => {
        const info = await within("get_info", payer.getInfo());
        assert.ok(info.methods.includes("pay_invoice"));
        assert.match(info.pubkey, /^0[23][0-9a-f]{64}$/);
        assert.equal((await within("get_balance", payer.getBalance())).balance, 1_000_000);
        assert.equal(payer.encryptionType, "nip44_v2");
    });

    test("an invoice is made, paid, looked up and listed", async () => {
        const made = await within("make_invoice", payee.makeInvoice({ amount: 250_000, description: "from the sdk" }));
        assert.equal(made.amount, 250_000);
        assert.equal(made.type, "incoming");
        assert.equal((await within("lookup", payee.lookupInvoice({ payment_hash: made.payment_hash }))).state, "pending");

        const paid = await within("pay_invoice", payer.payInvoice({ invoice: made.invoice }));
        assert.equal(hashOf(paid.preimage), made.payment_hash);
        for (const [who, type] of [[payee, "incoming"], [payer, "outgoing"]]) {
            const found = await within("lookup", who.lookupInvoice({ invoice: made.invoice }));
            assert.equal(found.state, "settled");
            assert.equal(found.type, type);
            assert.equal(found.preimage, paid.preimage);
            const listed = await within("list", who.listTransactions({ limit: 10 }));
            assert.equal(listed.transactions[0].payment_hash, made.payment_hash);
            assert.equal(listed.total_count, 1);
        }
        assert.equal((await payer.getBalance()).balance, 750_000);
        assert.equal((await payee.getBalance()).balance, 250_000);
    });

    test("the budget is told and kept", async () => {
        const before = await within("get_budget", payer.getBudget());
        assert.equal(before.total_budget, 600_000);
        assert.equal(before.renewal_period, "daily");
        const tooMuch = await payee.makeInvoice({ amount: 600_000 });
        await assert.rejects(within("refusal", payer.payInvoice({ invoice: tooMuch.invoice })), { code: "QUOTA_EXCEEDED" });
        assert.equal((await payer.getBudget()).used_budget, before.used_budget);
        assert.deepEqual(await payee.getBudget(), {});
    });

    test("refusals arrive with their codes", async () => {
        const absent = { payment_hash: "00".repeat(32) };
        await assert.rejects(within("refusal", payer.lookupInvoice(absent)), { code: "NOT_FOUND" });
        await assert.rejects(within("refusal", payer.payInvoice({ invoice: "nonsense" })), { code: "OTHER" });
        await assert.rejects(within("refusal", payer.payKeysend({ amount: 1, pubkey: `02${"11".repeat(32)}` })), { code: "NOT_IMPLEMENTED" });
    });

    test("twenty requests at once are twenty answers", async () => {
        const made = await within("invoices", Promise.all(Array.from({ length: 20 }, (_, n) => payee.makeInvoice({ amount: 1_000 + n }))));
        const paid = await within("payments", Promise.all(made.map(({ invoice }) => payer.payInvoice({ invoice }))));
        paid.forEach(({ preimage }, n) => assert.equal(hashOf(preimage), made[n].payment_hash));
    });

    test("a revoked connection is told so", async () => {
        const gone = client(await hearth.connect("gone"));
        assert.equal((await within("get_balance", gone.getBalance())).balance, 0);
        await hearth.command("wallet", "revoke", "gone");
        await assert.rejects(within("refusal", gone.getBalance()), { code: "UNAUTHORIZED" });
        gone.close();
    });
});
