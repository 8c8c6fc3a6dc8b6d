//! Which fleet a proxy belongs to: its token names a ServiceAccount, and each fleet has one of its own.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use gatehouse_kube::tokens::{Identity as Account, TokenError, TokenReviewer};
use gatehouse_model::{FleetKey, NamespacedName};
use gatehouse_xds::{Authorize, Denied, Identity, Verdict};
use tokio::sync::watch;

use crate::plane::fleet_id;

/// A stream is asked for its token again after this time at most: the pod or the Gateway may be gone.
const BELIEVED: Duration = Duration::from_mins(30);

/// The ServiceAccounts of all fleets. Cheap to clone; all clones share one list.
#[derive(Clone, Debug, Default)]
pub(crate) struct Accounts(Arc<RwLock<Known>>);

#[derive(Debug, Default)]
struct Known {
    fleets: BTreeMap<NamespacedName, BTreeSet<FleetKey>>,
    accounts: BTreeMap<FleetKey, Vec<NamespacedName>>,
}

impl Accounts {
    /// The proxies of a fleet run as one of these.
    pub(crate) fn set(&self, fleet: &FleetKey, accounts: Vec<NamespacedName>) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if known.accounts.get(fleet) == Some(&accounts) {
            return;
        }
        known.forget(fleet);
        for account in &accounts {
            known.fleets.entry(account.clone()).or_default().insert(fleet.clone());
        }
        known.accounts.insert(fleet.clone(), accounts);
    }

    /// The fleet is no more.
    pub(crate) fn remove(&self, fleet: &FleetKey) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).forget(fleet);
    }

    /// The one fleet whose proxies run as this account. An account that several share proves nothing.
    fn fleet(&self, account: &Account) -> Option<FleetKey> {
        let key = NamespacedName::new(account.namespace.as_str(), account.service_account.as_str());
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut fleets = known.fleets.get(&key)?.iter();
        fleets.next().filter(|_| fleets.next().is_none()).cloned()
    }
}

impl Known {
    fn forget(&mut self, fleet: &FleetKey) {
        for account in self.accounts.remove(fleet).unwrap_or_default() {
            if let Entry::Occupied(mut fleets) = self.fleets.entry(account) {
                fleets.get_mut().remove(fleet);
                if fleets.get().is_empty() {
                    fleets.remove();
                }
            }
        }
    }
}

/// Proves tokens by asking the API server.
pub(crate) struct Gatekeeper {
    pub(crate) reviewer: TokenReviewer,
    pub(crate) accounts: Accounts,
    /// Whether what is committed is as new as what the leader before us served.
    pub(crate) fresh: watch::Receiver<bool>,
}

impl Authorize for Gatekeeper {
    fn authorize<'a>(&'a self, token: &'a str) -> Verdict<'a, Identity> {
        Box::pin(async move {
            let account = self.reviewer.review(token).await.map_err(|error| match error {
                TokenError::Refused(_) => Denied::Unauthenticated(error.to_string()),
                TokenError::Unavailable(_) => Denied::Unavailable(error.to_string()),
            })?;
            let fleet = self.accounts.fleet(&account).ok_or_else(|| {
                Denied::Forbidden(format!(
                    "ServiceAccount {}/{} is not that of exactly one Gateway's proxies",
                    account.namespace, account.service_account
                ))
            })?;
            Ok(Identity { fleet: fleet_id(&fleet), expires: SystemTime::now() + BELIEVED })
        })
    }

    fn caught_up(&self) -> Verdict<'_, ()> {
        let mut fresh = self.fresh.clone();
        Box::pin(async move {
            let fresh = fresh.wait_for(|fresh| *fresh).await;
            fresh.map(drop).map_err(|_| Denied::Unavailable("this server stops; connect again".to_owned()))
        })
    }
}

#[cfg(test)]
mod tests {
    use gatehouse_model::{FleetKey, NamespacedName};

    use super::{Account, Accounts};

    fn fleet(name: &str) -> FleetKey {
        FleetKey(NamespacedName::new("ns", name))
    }

    fn account(name: &str) -> Account {
        Account { namespace: "ns".to_owned(), service_account: name.to_owned(), pod: None }
    }

    #[test]
    fn an_account_that_two_gateways_share_opens_neither() {
        let accounts = Accounts::default();
        accounts.set(&fleet("a"), vec![NamespacedName::new("ns", "shared")]);
        accounts.set(&fleet("b"), vec![NamespacedName::new("ns", "shared")]);
        assert_eq!(accounts.fleet(&account("shared")), None);
        accounts.remove(&fleet("b"));
        assert_eq!(accounts.fleet(&account("shared")), Some(fleet("a")));
    }

    #[test]
    fn an_account_opens_its_own_fleet_only_and_only_while_it_exists() {
        let accounts = Accounts::default();
        accounts.set(&fleet("a"), vec![NamespacedName::new("ns", "a-class")]);
        accounts.set(&fleet("b"), vec![NamespacedName::new("ns", "b-class")]);
        assert_eq!(accounts.fleet(&account("a-class")), Some(fleet("a")));
        assert_eq!(accounts.fleet(&account("b-class")), Some(fleet("b")));
        assert_eq!(accounts.fleet(&account("default")), None);
        let elsewhere = Account { namespace: "other".to_owned(), ..account("a-class") };
        assert_eq!(accounts.fleet(&elsewhere), None);
        accounts.set(&fleet("a"), vec![NamespacedName::new("ns", "a-other")]);
        assert_eq!(accounts.fleet(&account("a-class")), None);
        accounts.remove(&fleet("b"));
        assert_eq!(accounts.fleet(&account("b-class")), None);
    }
}
