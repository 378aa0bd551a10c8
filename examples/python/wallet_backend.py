"""A wallet as a process of its own, for hearth to call over proto/wallet_backend.proto: the ledger of wallet_backend.rs in Python.

Hearth's owner is one customer of this ledger, the "neighbours" are all the others: it pays their invoices and they pay his. No
Lightning is involved, but the invoices are real BOLT 11 on regtest, and what keeps money safe is done as a wallet with real money
must do it: an order is on disk before it is paid, a hash is paid once, FAILED is certain, events are there for ever.

    python3 -m venv venv && venv/bin/pip install -r requirements.txt
    venv/bin/python wallet_backend.py --listen unix:/tmp/wallet.sock --state /tmp/wallet

The stubs are made from the proto at the start, into a temporary directory.
"""

import argparse
import hashlib
import importlib
import json
import os
import pathlib
import secrets
import socketserver
import sys
import tempfile
import threading
import time
from concurrent import futures

import bolt11
import grpc
from bolt11.models.features import Feature, Features, FeatureState
from bolt11.models.tags import Tag, TagChar, Tags
from coincurve import PrivateKey
from grpc_tools import protoc

FEE_MSAT = 100
CLTV_BLOCKS = 18
PROTO = pathlib.Path(__file__).resolve().parents[2] / "proto" / "wallet_backend.proto"
ZBASE32 = "ybndrfg8ejkmcpqxot1uwisza345h769"


def make_stubs():
    folder = tempfile.mkdtemp(prefix="wallet-backend-stubs-")
    arguments = ["protoc", f"-I{PROTO.parent}", f"--python_out={folder}", f"--grpc_python_out={folder}", str(PROTO)]
    if protoc.main(arguments) != 0:
        sys.exit(f"no stubs could be made from {PROTO}")
    sys.path.insert(0, folder)
    return importlib.import_module("wallet_backend_pb2"), importlib.import_module("wallet_backend_pb2_grpc")


pb, pb_grpc = make_stubs()


def sha256(data):
    return hashlib.sha256(data).digest()


def zbase32(data):
    bits = "".join(f"{byte:08b}" for byte in data)
    bits += "0" * (-len(bits) % 5)
    return "".join(ZBASE32[int(bits[at : at + 5], 2)] for at in range(0, len(bits), 5))


def invoice_text(key, hash_hex, amount_msat, description, description_hash, now_s, expiry_s, cltv_blocks=None):
    """A BOLT 11 invoice; the same order gives the same text, since its payment secret follows from key and hash."""
    tags = Tags(
        [
            Tag(TagChar.payment_hash, hash_hex),
            Tag(TagChar.payment_secret, sha256(key.secret + hash_hex.encode()).hex()),
            Tag(TagChar.expire_time, expiry_s),
            Tag(TagChar.min_final_cltv_expiry, cltv_blocks or CLTV_BLOCKS),
            Tag(
                TagChar.features,
                Features.from_feature_list(
                    {
                        Feature.var_onion_optin: FeatureState.required,
                        Feature.payment_secret: FeatureState.required,
                        Feature.basic_mpp: FeatureState.supported,
                    }
                ),
            ),
        ]
    )
    if description_hash:
        tags.add(TagChar.description_hash, description_hash.hex())
    else:
        tags.add(TagChar.description, description)
    amount = bolt11.MilliSatoshi(amount_msat) if amount_msat is not None else None
    invoice = bolt11.Bolt11(currency="bcrt", date=now_s, tags=tags, amount_msat=amount)
    return bolt11.encode(invoice, key.secret.hex())


class Refused(Exception):
    """What a neighbour cannot have, or a payment that fails for certain."""


class Ledger:
    """One line of JSON for everything that happened. A line is on disk before anybody hears of it."""

    def __init__(self, folder, balance_msat):
        self.lock = threading.Condition()
        self.lines = 0
        self.balance_msat = balance_msat
        self.payments = {}
        self.invoices = {}
        self.neighbours = {}
        self.events = []
        path = folder / "ledger.jsonl"
        self.file = open(path, "a+b")
        self.file.seek(0)
        whole = 0
        for text in self.file:
            try:
                line = json.loads(text)
            except ValueError:
                break  # only the last line can be torn, and nobody was told of it
            whole += len(text)
            self.apply(line)
        self.file.truncate(whole)

    def commit(self, kind, **values):
        line = {"kind": kind, **values}
        self.file.write(json.dumps(line).encode() + b"\n")
        self.file.flush()
        os.fdatasync(self.file.fileno())
        self.apply(line)
        self.lock.notify_all()

    def apply(self, line):
        self.lines += 1
        kind, name = line["kind"], line["hash"]
        if kind == "invoice":
            self.invoices[name] = {**line, "state": pb.INCOMING_STATE_UNSPECIFIED, "paid_msat": 0}
        elif kind == "neighbour":
            self.neighbours[name] = line
        elif kind == "order":
            self.balance_msat -= line["amount_msat"] + FEE_MSAT
            self.payments[name] = {**line, "state": pb.PAYMENT_STATE_IN_FLIGHT, "preimage": "", "words": ""}
        elif kind == "sent":
            self.payments[name].update(state=pb.PAYMENT_STATE_SETTLED, preimage=line["preimage"])
            self.tell_payment(name)
        elif kind == "failed":
            before = self.payments.get(name, {})
            if before.get("state") == pb.PAYMENT_STATE_IN_FLIGHT:
                self.balance_msat += before["amount_msat"] + FEE_MSAT
            failed = {"state": pb.PAYMENT_STATE_FAILED, "preimage": "", "words": line["words"], "attempt": line["attempt"]}
            self.payments[name] = {**before, **failed}
            self.tell_payment(name)
        else:
            self.apply_incoming(kind, name, line)

    def apply_incoming(self, kind, name, line):
        invoice = self.invoices[name]
        if kind == "paid":
            invoice["paid_msat"] = line["amount_msat"]
            invoice["state"] = pb.INCOMING_STATE_SETTLED if invoice["preimage"] else pb.INCOMING_STATE_HELD
        elif kind == "taken":
            invoice.update(preimage=line["preimage"], state=pb.INCOMING_STATE_SETTLED)
        elif kind == "canceled":
            invoice.update(paid_msat=0, state=pb.INCOMING_STATE_CANCELED)
        if invoice["state"] == pb.INCOMING_STATE_SETTLED:
            self.balance_msat += invoice["paid_msat"]
        self.tell_invoice(name)

    def payment(self, name):
        payment = self.payments.get(name)
        if payment is None:
            return pb.PaymentReply(state=pb.PAYMENT_STATE_NOT_FOUND)
        return pb.PaymentReply(
            state=payment["state"],
            preimage=bytes.fromhex(payment["preimage"]),
            fee_msat=FEE_MSAT if payment["state"] == pb.PAYMENT_STATE_SETTLED else 0,
            failure=payment["words"],
            attempt=payment["attempt"],
        )

    def tell_payment(self, name):
        outgoing = pb.Outgoing(payment_hash=bytes.fromhex(name), reply=self.payment(name))
        self.events.append(pb.Event(cursor=str(self.lines), outgoing=outgoing))

    def tell_invoice(self, name):
        invoice = self.invoices[name]
        incoming = pb.Incoming(
            payment_hash=bytes.fromhex(name),
            amount_msat=invoice["paid_msat"],
            state=invoice["state"],
            preimage=bytes.fromhex(invoice["preimage"]),
        )
        if invoice["state"] == pb.INCOMING_STATE_HELD:
            incoming.settle_deadline = 144
        self.events.append(pb.Event(cursor=str(self.lines), incoming=incoming))


class Wallet(pb_grpc.WalletBackendServicer):
    def __init__(self, ledger, key):
        self.ledger = ledger
        self.key = key
        self.neighbour = PrivateKey(b"\x4e" * 32)

    def pubkey(self, key):
        return key.public_key.format(compressed=True).hex()

    def Hello(self, request, context):
        if not request.version_min <= 1 <= request.version_max:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "this wallet speaks version 1")
        can = dict.fromkeys(("outside", "refuses_second", "hold_invoices", "keysend", "sign_message", "node_balance"), True)
        node = pb.NodeInfo(pubkey=self.pubkey(self.key), alias="example ledger", color="#3a7d44", network="regtest")
        return pb.HelloReply(version=1, server="wallet_backend.py 1", node=node, can=pb.Capabilities(**can))

    def Send(self, request, context):
        name = request.payment_hash.hex()
        with self.ledger.lock:
            before = self.ledger.payments.get(name)
            if before and (before["state"] != pb.PAYMENT_STATE_FAILED or request.attempt <= before["attempt"]):
                return self.ledger.payment(name)
            try:
                preimage, then, records = self.check(request, name)
            except Refused as words:
                self.ledger.commit("failed", hash=name, attempt=request.attempt, words=str(words))
                return self.ledger.payment(name)
            order = {"hash": name, "attempt": request.attempt, "amount_msat": request.amount_msat, "records": records}
            self.ledger.commit("order", **order)
            if then == "settle":
                self.ledger.commit("sent", hash=name, preimage=preimage)
            elif then == "refuse":
                self.ledger.commit("failed", hash=name, attempt=request.attempt, words="the payee refused the payment")
            return self.ledger.payment(name)

    def check(self, request, name):
        """Who is paid, and what goes with it; or why it fails for certain, since nothing was begun."""
        elsewhere = "no route: this ledger reaches its own neighbours only"
        if request.WhichOneof("target") == "keysend":
            if request.keysend.payee != self.pubkey(self.neighbour):
                raise Refused(elsewhere)
            records = [(record.type, record.value.hex()) for record in request.keysend.records]
            payee = (request.keysend.preimage.hex(), "settle", records)
        else:
            try:
                invoice = bolt11.decode(request.invoice)
            except Exception as error:  # whatever the library finds wrong with it
                raise Refused(f"not an invoice: {error}") from error
            if invoice.has_expired():
                raise Refused("the invoice is expired")
            if invoice.amount_msat is not None and int(invoice.amount_msat) != request.amount_msat:
                raise Refused("the invoice asks for another amount")
            if name not in self.ledger.neighbours:
                raise Refused(elsewhere)
            neighbour = self.ledger.neighbours[name]
            payee = (neighbour["preimage"], neighbour["then"], [])
        if FEE_MSAT > request.fee_max_msat:
            raise Refused(f"no route within the fee limit: it costs {FEE_MSAT} msat")
        if request.amount_msat + FEE_MSAT > self.ledger.balance_msat:
            raise Refused("the wallet does not have that much")
        return payee

    def Lookup(self, request, context):
        with self.ledger.lock:
            return self.ledger.payment(request.payment_hash.hex())

    def make(self, request, name, preimage, cltv_blocks):
        with self.ledger.lock:
            if name not in self.ledger.invoices:
                amount_msat = request.amount_msat if request.HasField("amount_msat") else None
                text = invoice_text(
                    self.key, name, amount_msat, request.description, request.description_hash, request.now_s, request.expiry_s, cltv_blocks
                )
                expires_at_s = request.now_s + request.expiry_s
                values = {"hash": name, "amount_msat": amount_msat, "preimage": preimage, "text": text, "expires_at_s": expires_at_s}
                self.ledger.commit("invoice", **values)
            made = self.ledger.invoices[name]
            return pb.InvoiceReply(invoice=made["text"], payment_hash=bytes.fromhex(name), expires_at_s=made["expires_at_s"])

    def MakeInvoice(self, request, context):
        return self.make(request, sha256(request.preimage).hex(), request.preimage.hex(), None)

    def MakeHoldInvoice(self, request, context):
        blocks = request.min_cltv_expiry_delta if request.HasField("min_cltv_expiry_delta") else None
        return self.make(request, request.payment_hash.hex(), "", blocks)

    def SettleHold(self, request, context):
        name = sha256(request.preimage).hex()
        with self.ledger.lock:
            invoice = self.ledger.invoices.get(name)
            if invoice is None:
                context.abort(grpc.StatusCode.NOT_FOUND, "no such invoice")
            if invoice["state"] == pb.INCOMING_STATE_HELD:
                self.ledger.commit("taken", hash=name, preimage=request.preimage.hex())
            elif invoice["state"] != pb.INCOMING_STATE_SETTLED:
                context.abort(grpc.StatusCode.FAILED_PRECONDITION, "nothing is held for this invoice")
        return pb.SettleHoldReply()

    def CancelHold(self, request, context):
        name = request.payment_hash.hex()
        with self.ledger.lock:
            invoice = self.ledger.invoices.get(name)
            if invoice and invoice["state"] in (pb.INCOMING_STATE_UNSPECIFIED, pb.INCOMING_STATE_HELD):
                self.ledger.commit("canceled", hash=name)
        return pb.CancelHoldReply()

    def SignMessage(self, request, context):
        digest = sha256(sha256(b"Lightning Signed Message:" + request.message.encode()))
        signature = self.key.sign_recoverable(digest, hasher=None)
        return pb.SignMessageReply(signature=zbase32(bytes([signature[64] + 31]) + signature[:64]))

    def Balance(self, request, context):
        with self.ledger.lock:
            return pb.BalanceReply(spendable_msat=self.ledger.balance_msat)

    def Events(self, request, context):
        after = int(request.cursor) if request.cursor.isdigit() else 0
        with self.ledger.lock:
            if after > self.ledger.lines or (request.cursor and not request.cursor.isdigit()):
                context.abort(grpc.StatusCode.OUT_OF_RANGE, "no such cursor")
        while context.is_active():
            with self.ledger.lock:
                new = [event for event in self.ledger.events if int(event.cursor) > after]
                if not new:
                    self.ledger.lock.wait(timeout=1)
            for event in new:
                after = int(event.cursor)
                yield event

    def neighbour_asks(self, ask):
        ledger = self.ledger
        what = ask["do"]
        if what == "node":
            return {"pubkey": self.pubkey(self.neighbour)}
        with ledger.lock:
            if what == "invoice":
                preimage = secrets.token_bytes(32)
                name = sha256(preimage).hex()
                text = invoice_text(self.neighbour, name, ask.get("amount_msat"), "neighbour", b"", int(time.time()), 3600)
                ledger.commit("neighbour", hash=name, preimage=preimage.hex(), then=ask["then"])
                return {"invoice": text, "hash": name}
            if what == "pay":
                return self.pay_in(ask)
            payment = ledger.payments.get(ask["hash"], {})
            if what == "received":
                if payment.get("state") != pb.PAYMENT_STATE_SETTLED:
                    raise Refused("nothing was received")
                return {"amount_msat": payment["amount_msat"], "records": payment["records"]}
            if payment.get("state") != pb.PAYMENT_STATE_IN_FLIGHT:
                raise Refused("no such payment under way")
            if what == "take":
                ledger.commit("sent", hash=ask["hash"], preimage=ledger.neighbours[ask["hash"]]["preimage"])
            else:
                ledger.commit("failed", hash=ask["hash"], attempt=payment["attempt"], words="the payee refused the payment")
            return {}

    def pay_in(self, ask):
        invoice = bolt11.decode(ask["invoice"])
        known = self.ledger.invoices.get(invoice.payment_hash)
        if known is None:
            raise Refused("not an invoice of this wallet")
        if known["state"] != pb.INCOMING_STATE_UNSPECIFIED:
            raise Refused("this invoice was paid or is over")
        if time.time() >= known["expires_at_s"]:
            raise Refused("this invoice is expired")
        asked, given = known["amount_msat"], ask.get("amount_msat")
        if asked is not None and given is not None and asked != given:
            raise Refused("the invoice asks for another amount")
        if asked is None and given is None:
            raise Refused("the invoice names no amount")
        self.ledger.commit("paid", hash=invoice.payment_hash, amount_msat=asked if asked is not None else given)
        return {}


class Token(grpc.ServerInterceptor):
    """Turns callers without the token away."""

    def __init__(self, token):
        self.expected = f"Bearer {token}"
        self.refuse = grpc.unary_unary_rpc_method_handler(
            lambda request, context: context.abort(grpc.StatusCode.UNAUTHENTICATED, "wrong token")
        )

    def intercept_service(self, continuation, details):
        given = dict(details.invocation_metadata).get("authorization", "")
        return continuation(details) if secrets.compare_digest(given, self.expected) else self.refuse


def serve_neighbours(wallet, path):
    """Where the neighbours ask: a JSON object a line, and one back."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self):
            for line in self.rfile:
                try:
                    said = wallet.neighbour_asks(json.loads(line))
                except Exception as error:  # a neighbour's mistake is told and ends nothing
                    said = {"error": str(error)}
                self.wfile.write(json.dumps(said).encode() + b"\n")

    pathlib.Path(path).unlink(missing_ok=True)
    server = socketserver.ThreadingUnixStreamServer(path, Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()


def main():
    parser = argparse.ArgumentParser(description="A play wallet for hearth.")
    parser.add_argument("--listen", required=True, help="unix:/path or 127.0.0.1:PORT")
    parser.add_argument("--state", required=True, type=pathlib.Path, help="folder of its ledger")
    parser.add_argument("--token-file", type=pathlib.Path, help="file with the token that callers must have; needed for a port")
    parser.add_argument("--neighbours", help="socket where the neighbours ask: one JSON object a line")
    parser.add_argument("--balance-msat", type=int, default=100_000_000, help="what the owner has at the start")
    args = parser.parse_args()
    if not args.token_file and not args.listen.startswith("unix:"):
        parser.error("a port needs --token-file: any user of this machine can connect to it")

    args.state.mkdir(parents=True, exist_ok=True)
    key_file = args.state / "node-key"
    if not key_file.exists():
        key_file.write_text(secrets.token_hex(32))
    wallet = Wallet(Ledger(args.state, args.balance_msat), PrivateKey(bytes.fromhex(key_file.read_text().strip())))

    interceptors = [Token(args.token_file.read_text().strip())] if args.token_file else []
    # Each reader of events holds a thread for as long as it reads.
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=32), interceptors=interceptors)
    pb_grpc.add_WalletBackendServicer_to_server(wallet, server)
    if args.listen.startswith("unix:"):
        pathlib.Path(args.listen.removeprefix("unix:")).unlink(missing_ok=True)
    server.add_insecure_port(args.listen)
    server.start()
    if args.neighbours:
        serve_neighbours(wallet, args.neighbours)
    print(f"listening at {args.listen}", flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    main()
