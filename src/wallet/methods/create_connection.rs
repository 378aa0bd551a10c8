//! `create_connection` (de facto): an app makes a connection for another app. It may not give more than it has.
//!
//! What is given of a budget is taken from the one who gives it, so that the sum of what may be spent never grows, however many
//! connections are made. Methods, notifications, the most for one payment, the end and the refusal of NIP-04 are bounded by the
//! asking connection's own, and the right to make connections cannot be given on.

use serde::Serialize;

use crate::base::amount::Msat;
use crate::base::hex32::PublicKey;
use crate::wallet::access::connection::{Profile, check_name};
use crate::wallet::money::types::{Budget, BudgetView, ConnectionRules, Renewal};
use crate::wallet::terms::{ErrorCode, Refusal};
use crate::wallet::wire::error::other;
use crate::wallet::wire::method::{Method, MethodSet};
use crate::wallet::wire::notification::Notification;
use crate::wallet::wire::request::CreateConnection;

/// The result.
#[derive(Serialize, Debug)]
pub struct Created {
    wallet_pubkey: PublicKey,
}

impl Created {
    /// The key that was made for the new connection.
    pub fn new(wallet_pubkey: PublicKey) -> Self {
        Self { wallet_pubkey }
    }
}

/// Who asks, and what it has.
#[derive(Clone, Copy, Debug)]
pub struct Giver<'a> {
    /// Its rights.
    pub profile: &'a Profile,
    /// What it may do with money.
    pub rules: &'a ConnectionRules,
    /// What is left of its budget.
    pub budget: Option<BudgetView>,
}

/// What is given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Grant {
    /// The other app's key.
    pub client: PublicKey,
    /// Its name.
    pub name: String,
    /// Its methods.
    pub methods: MethodSet,
    /// Names of its notifications.
    pub notifications: Vec<String>,
    /// What it may spend.
    pub budget: Option<Budget>,
    /// Whether its budget is taken from the giver's: not where it spends from an account of its own.
    pub takes_budget: bool,
    /// Most of one payment.
    pub payment_max: Option<Msat>,
    /// Unix seconds.
    pub expires_at_s: Option<u64>,
    /// Whether it gets an account of its own.
    pub isolated: bool,
    /// Whether NIP-04 is refused.
    pub no_nip04: bool,
}

/// Whether this may be given.
pub fn check(giver: &Giver<'_>, wish: CreateConnection, now_s: u64) -> Result<Grant, Refusal> {
    check_name(&wish.name).map_err(|error| other(format!("params: name: {error}")))?;
    if wish.client == giver.profile.client {
        return Err(restricted("a connection cannot make another one for its own key"));
    }
    let methods = methods(giver.profile, &wish.methods)?;
    let notifications = notifications(giver.profile, wish.notifications)?;
    let budget = budget(giver, wish.budget_msat, wish.renewal.as_deref(), wish.isolated)?;
    let takes_budget = budget.is_some() && giver.rules.budget.is_some() && !wish.isolated;
    Ok(Grant {
        client: wish.client,
        name: wish.name,
        methods,
        notifications,
        budget,
        takes_budget,
        payment_max: giver.rules.payment_max,
        expires_at_s: end(giver.profile, wish.expires_at_s, now_s)?,
        isolated: wish.isolated,
        no_nip04: !giver.profile.nip04,
    })
}

fn methods(giver: &Profile, names: &[String]) -> Result<MethodSet, Refusal> {
    let method = |name: &String| {
        let short: String = name.chars().take(64).collect();
        let method = Method::parse(name).ok_or_else(|| other(format!("params: there is no method \"{short}\"")))?;
        if method == Method::CreateConnection {
            return Err(restricted("the right to make connections cannot be given on"));
        }
        if !giver.methods.has(method) {
            return Err(restricted(format!("this connection may not use {method} and cannot give it")));
        }
        Ok(method)
    };
    names.iter().map(method).collect()
}

fn notifications(giver: &Profile, names: Vec<String>) -> Result<Vec<String>, Refusal> {
    for name in &names {
        let short: String = name.chars().take(64).collect();
        let one = Notification::parse(name).ok_or_else(|| other(format!("params: there is no notification \"{short}\"")))?;
        if !giver.notifications.has(one) {
            return Err(restricted(format!("this connection does not get {one} and cannot give it")));
        }
    }
    Ok(names)
}

fn budget(giver: &Giver<'_>, amount: Option<Msat>, renewal: Option<&str>, isolated: bool) -> Result<Option<Budget>, Refusal> {
    let renewal = match renewal {
        None => Renewal::Never,
        Some(name) => {
            Renewal::parse(name).ok_or_else(|| other("params: budget_renewal must be never, daily, weekly, monthly or yearly"))?
        }
    };
    let own = giver.rules.budget.as_ref();
    let time_zone = own.map_or_else(|| "UTC".to_owned(), |own| own.time_zone.clone());
    let wanted = amount.map(|amount| Budget { amount, renewal, time_zone });
    let (Some(own), false) = (own, isolated) else { return Ok(wanted) };
    let Some(wanted) = wanted else {
        return Err(restricted("this connection has a budget: it can only give a max_amount, which is taken from it"));
    };
    let left = giver.budget.map_or(Msat::ZERO, |view| view.left());
    if wanted.amount > left || often(wanted.renewal) > often(own.renewal) {
        let words = format!(
            "wanted: {} {}; this connection can give {left} of its own {} budget, renewed as often at most",
            wanted.amount,
            wanted.renewal.as_str(),
            own.renewal.as_str()
        );
        return Err(Refusal::new(ErrorCode::QuotaExceeded, words));
    }
    Ok(Some(wanted))
}

/// Rises with how often a budget is whole again.
const fn often(renewal: Renewal) -> u8 {
    match renewal {
        Renewal::Never => 0,
        Renewal::Yearly => 1,
        Renewal::Monthly => 2,
        Renewal::Weekly => 3,
        Renewal::Daily => 4,
    }
}

fn end(giver: &Profile, wanted_s: Option<u64>, now_s: u64) -> Result<Option<u64>, Refusal> {
    match (wanted_s, giver.expires_at_s) {
        (Some(at_s), _) if at_s <= now_s => Err(other("params: expires_at has passed already")),
        (Some(at_s), Some(own_s)) if at_s > own_s => {
            Err(restricted(format!("this connection ends at unix time {own_s} and cannot make one that lives longer")))
        }
        (wanted_s, own_s) => Ok(wanted_s.or(own_s)),
    }
}

fn restricted(words: impl Into<std::borrow::Cow<'static, str>>) -> Refusal {
    Refusal::new(ErrorCode::Restricted, words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wallet::access::connection::Announced;
    use crate::wallet::terms::AccountId;
    use crate::wallet::wire::notification::NotificationSet;

    const NOW_S: u64 = 1_000;

    fn giver() -> (Profile, ConnectionRules) {
        let profile = Profile {
            name: "hub".to_owned(),
            wallet: PublicKey::from([4; 32]),
            client: PublicKey::from([5; 32]),
            methods: [Method::PayInvoice, Method::GetBalance, Method::CreateConnection].into_iter().collect(),
            notifications: [Notification::PaymentSent].into_iter().collect(),
            nip04: false,
            created_at_s: 0,
            expires_at_s: Some(2_000),
            revoked_at_s: None,
            relays: Vec::new(),
            state: None,
            announced: Announced::default(),
            made_by: None,
            spoken: None,
        };
        let budget =
            Budget { amount: Msat::new(10_000).unwrap(), renewal: Renewal::Monthly, time_zone: "Europe/Vienna".to_owned() };
        let payment_max = Msat::new(700).ok();
        (profile, ConnectionRules { account: AccountId::MAIN, budget: Some(budget), payment_max, active: true })
    }

    fn wish() -> CreateConnection {
        CreateConnection {
            client: PublicKey::from([6; 32]),
            name: "child".to_owned(),
            methods: vec!["pay_invoice".to_owned()],
            notifications: vec!["payment_sent".to_owned()],
            budget_msat: Msat::new(4_000).ok(),
            renewal: Some("yearly".to_owned()),
            expires_at_s: None,
            isolated: false,
        }
    }

    fn judge(wish: CreateConnection) -> Result<Grant, Refusal> {
        let (profile, rules) = giver();
        let view = BudgetView {
            total: Msat::new(10_000).unwrap(),
            settled: Msat::new(3_000).unwrap(),
            held: Msat::new(1_000).unwrap(),
            renews_at_s: None,
            renewal: Renewal::Monthly,
        };
        check(&Giver { profile: &profile, rules: &rules, budget: Some(view) }, wish, NOW_S)
    }

    fn code(wish: CreateConnection) -> &'static str {
        judge(wish).unwrap_err().code.as_str()
    }

    #[test]
    fn what_is_given_is_bounded_by_what_the_giver_has() {
        let grant = judge(wish()).unwrap();
        assert_eq!((grant.methods.words().as_str(), grant.takes_budget, grant.no_nip04), ("pay_invoice", true, true));
        assert_eq!((grant.payment_max, grant.expires_at_s), (Msat::new(700).ok(), Some(2_000)), "inherited");
        assert_eq!(grant.budget.unwrap().time_zone, "Europe/Vienna");
        assert_eq!(judge(CreateConnection { expires_at_s: Some(1_500), ..wish() }).unwrap().expires_at_s, Some(1_500));
        let all_left = judge(CreateConnection { budget_msat: Msat::new(6_000).ok(), renewal: Some("monthly".into()), ..wish() });
        assert!(all_left.is_ok());
    }

    #[test]
    fn nobody_gives_more() {
        let methods = |name: &str| CreateConnection { methods: vec![name.to_owned()], ..wish() };
        assert_eq!(code(methods("create_connection")), "RESTRICTED");
        assert_eq!(code(methods("make_invoice")), "RESTRICTED");
        assert_eq!(code(methods("levitate")), "OTHER");
        assert_eq!(code(CreateConnection { client: PublicKey::from([5; 32]), ..wish() }), "RESTRICTED");
        assert_eq!(code(CreateConnection { notifications: vec!["payment_received".to_owned()], ..wish() }), "RESTRICTED");
        assert_eq!(code(CreateConnection { notifications: vec!["x".to_owned()], ..wish() }), "OTHER");
        assert_eq!(code(CreateConnection { budget_msat: None, ..wish() }), "RESTRICTED");
        assert_eq!(code(CreateConnection { budget_msat: Msat::new(6_001).ok(), ..wish() }), "QUOTA_EXCEEDED");
        assert_eq!(code(CreateConnection { renewal: Some("weekly".to_owned()), ..wish() }), "QUOTA_EXCEEDED");
        assert_eq!(code(CreateConnection { renewal: Some("hourly".to_owned()), ..wish() }), "OTHER");
        assert_eq!(code(CreateConnection { expires_at_s: Some(2_001), ..wish() }), "RESTRICTED");
        assert_eq!(code(CreateConnection { expires_at_s: Some(NOW_S), ..wish() }), "OTHER");
        assert_eq!(code(CreateConnection { name: String::new(), ..wish() }), "OTHER");
    }

    #[test]
    fn an_account_of_its_own_takes_nothing_from_the_giver() {
        let alone = judge(CreateConnection { isolated: true, budget_msat: None, ..wish() }).unwrap();
        assert!(alone.budget.is_none() && !alone.takes_budget && alone.isolated);
        let (mut profile, mut rules) = giver();
        (rules.budget, profile.notifications) = (None, NotificationSet::all());
        let free = check(
            &Giver { profile: &profile, rules: &rules, budget: None },
            CreateConnection { budget_msat: None, ..wish() },
            NOW_S,
        );
        assert!(free.unwrap().budget.is_none(), "who has no budget may give none");
    }
}
