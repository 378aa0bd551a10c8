// Tells the page that opened this one, and the app whose web view this is, that the wish was granted. Nothing of it is secret.
const { wallet, relays, state, lud16 } = document.getElementById("granted").dataset;
const relayUrls = relays.split(" ");
const granted = { type: "nwc:success", relayUrl: relayUrls[0], relayUrls, walletPubkey: wallet, state, lud16 };
window.dispatchEvent(new CustomEvent(granted.type, { detail: granted }));
window.opener?.postMessage(granted, "*");
