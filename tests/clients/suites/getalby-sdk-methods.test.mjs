// Every method that NWCClient of @getalby/sdk knows, unmodified, in both schemes, and what tests/README.md says of each.
//
// It takes the scheme for everything (requests, and which kind of notification it listens to) from what it reads in kind 13194, NIP-44 where
// that is offered. hearth offers it always, so for NIP-04 the client is told of a wallet that does not: by overriding the public method that
// reads the event, and nothing else.
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { after, before, describe, test } from "node:test";

// First, because it gives older versions of Node.js a WebSocket, which the libraries look for when they are loaded.
import { Hearth, within } from "../support/hearth.mjs";
import { Findings } from "../support/matrix.mjs";

import { NWCClient } from "@getalby/sdk/nwc";

/** The client as it meets a wallet of before NIP-44. */
class ClientOfOldWallet extends NWCClient {
    async getWalletServiceInfo() {
        return { ...(await super.getWalletServiceInfo()), encryptions: ["nip04"] };
    }
}

const SCHEMES = [
    { scheme: "nip44_v2", column: "@getalby/sdk (NIP-44)", Client: NWCClient },
    { scheme: "nip04", column: "@getalby/sdk (NIP-04)", Client: ClientOfOldWallet },
];
const hashOf = (preimage) => createHash("sha256").update(Buffer.from(preimage, "hex")).digest("hex");
const NODE_KEY = `02${"79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"}`;

/** Collects what a client is told; `next(type)` waits for the next notification of a type. */
async function listener(of) {
    const told = [];
    const waiting = [];
    const stop = await within("subscription", of.subscribeNotifications((notification) => {
        told.push(notification);
        waiting.splice(0).forEach((wake) => wake());
    }));
    const next = async (type) => {
        for (;;) {
            const at = told.findIndex((one) => one.notification_type === type);
            if (at !== -1) return told.splice(at, 1)[0].notification;
            await within(type, new Promise((resolve) => waiting.push(resolve)));
        }
    };
    return { next, stop, told };
}

for (const { scheme, column, Client } of SCHEMES) describe(`${column}, method by method`, () => {
    let hearth, payer, payee;
    const found = new Findings(column);
    const client = (connection) => new Client({ nostrWalletConnectUrl: connection.uri });
    before(async () => {
        hearth = await Hearth.start();
        payer = client(await hearth.connect("payer", "--account", "payer"));
        await hearth.fund("payer", 10_000_000);
        payee = client(await hearth.connect("payee", "--account", "payee"));
    });
    after(async () => {
        payer?.close();
        payee?.close();
        await hearth.stop();
    });

    test("the info event announces methods, encryption and notifications", async () => {
        const plain = new NWCClient(payer.options);
        const info = await within("13194", plain.getWalletServiceInfo());
        plain.close();
        assert.deepEqual(info.encryptions, ["nip44_v2", "nip04"]);
        for (const type of ["payment_received", "payment_sent"]) assert.ok(info.notifications.includes(type), type);
        assert.ok(info.capabilities.includes("notifications") && info.capabilities.includes("sign_message"));
        assert.ok(!info.capabilities.includes("pay_keysend"), "the ledger has nobody to send it to");
    });

    test("reading", async () => {
        const info = await found.call("get_info", within("get_info", payer.getInfo()));
        assert.ok(info.notifications.includes("payment_received"));
        await found.call("get_balance", within("get_balance", payer.getBalance()));
        assert.deepEqual(await found.call("get_budget", within("get_budget", payer.getBudget())), {});
        const made = await found.call("make_invoice", within("make_invoice", payee.makeInvoice({ amount: 1_000, description: "x" })));
        await found.call("lookup_invoice", within("lookup", payee.lookupInvoice({ invoice: made.invoice })));
        const listed = await found.call("list_transactions", within("list", payee.listTransactions({ unpaid: true })));
        assert.equal(listed.transactions.length, 1);
    });

    test("a payment is told to both sides, once", async () => {
        const [sent, got] = [await listener(payer), await listener(payee)];
        const made = await payee.makeInvoice({ amount: 21_000, description: "told" });
        const paid = await found.call("pay_invoice", within("pay_invoice", payer.payInvoice({ invoice: made.invoice })));
        const received = await found.call("notifications", got.next("payment_received"));
        assert.equal(received.payment_hash, made.payment_hash);
        assert.equal(received.preimage, paid.preimage);
        assert.equal(received.amount, 21_000);
        assert.equal((await sent.next("payment_sent")).payment_hash, made.payment_hash);
        // A round trip later nothing more has come.
        await payer.getBalance();
        assert.deepEqual([...sent.told, ...got.told], []);
        sent.stop();
        got.stop();
    });

    test("several payments at once", async () => {
        const made = await Promise.all([1_000, 2_000, 3_000].map((amount) => payee.makeInvoice({ amount })));
        const invoices = made.map(({ invoice }) => ({ invoice }));
        const { invoices: paid } = await found.call("multi_pay_invoice", within("multi", payer.multiPayInvoice({ invoices })));
        assert.deepEqual(paid.map(({ preimage }) => hashOf(preimage)).sort(), made.map(({ payment_hash }) => payment_hash).sort());
        const keysends = [{ amount: 1_000, pubkey: NODE_KEY }];
        await found.call("multi_pay_keysend", within("multi keysend", payer.multiPayKeysend({ keysends })));
    });

    test("keysend", async () => {
        const tlv_records = [{ type: 5482373484, value: "0123" }];
        await found.call("pay_keysend", within("pay_keysend", payer.payKeysend({ amount: 1_000, pubkey: NODE_KEY, tlv_records })));
    });

    test("hold invoices", async () => {
        const told = await listener(payee);
        for (const decision of ["settle_hold_invoice", "cancel_hold_invoice"]) {
            const preimage = randomBytes(32).toString("hex");
            const payment_hash = hashOf(preimage);
            const order = payee.makeHoldInvoice({ amount: 5_000, description: "later", payment_hash });
            const made = await found.call("make_hold_invoice", within("make_hold_invoice", order));
            const paying = made && payer.payInvoice({ invoice: made.invoice });
            paying?.catch(() => {});
            if (made) {
                const held = await told.next("hold_invoice_accepted");
                assert.equal(held.payment_hash, payment_hash);
                assert.equal((await payee.lookupInvoice({ payment_hash })).state, "accepted");
            }
            if (decision === "settle_hold_invoice") {
                await found.call(decision, within(decision, payee.settleHoldInvoice({ preimage })));
                if (made) assert.equal((await within("the payment", paying)).preimage, preimage);
            } else {
                await found.call(decision, within(decision, payee.cancelHoldInvoice({ payment_hash })));
                if (made) await assert.rejects(within("the payment", paying), { code: "PAYMENT_FAILED" });
            }
        }
        told.stop();
    });

    test("a signed message", async () => {
        const signed = await found.call("sign_message", within("sign_message", payer.signMessage({ message: "hello" })));
        assert.equal(signed.message, "hello");
        assert.match(signed.signature, /^[a-z0-9]{104}$/);
    });

    test("an app makes a connection for another", async () => {
        const hub = client(await hearth.connect("hub", "--account", "payer", "--methods", "create_connection,get_balance,pay_invoice"));
        const child = randomBytes(32).toString("hex");
        const pubkey = new Client({ relayUrls: [hearth.url], secret: child, walletPubkey: hub.walletPubkey }).publicKey;
        const wish = { pubkey, name: "child", request_methods: ["get_balance"], isolated: false };
        const made = await found.call("create_connection", within("create_connection", hub.createConnection(wish)));
        const app = new Client({ relayUrls: [hearth.url], secret: child, walletPubkey: made.wallet_pubkey });
        assert.equal((await within("get_balance", app.getBalance())).balance, (await hub.getBalance()).balance);
        await assert.rejects(within("refusal", app.payInvoice({ invoice: "x" })), { code: "RESTRICTED" });
        const more = { pubkey: "77".repeat(32), name: "more", request_methods: ["make_invoice"] };
        await assert.rejects(within("refusal", hub.createConnection(more)), { code: "RESTRICTED" });
        app.close();
        hub.close();
    });

    test("all of it was said in one scheme, and is as the table says", async () => {
        for (const one of [payer, payee]) assert.equal(one.encryptionType, scheme);
        await found.check();
    });
});
