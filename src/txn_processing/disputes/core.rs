//! What may be disputed, and what a resolution moves: no server, no clock, no randomness.
#![forbid(unsafe_code)]

use crate::error::Error;
use crate::txn_processing::calendar::MICROS_PER_DAY;
use crate::txn_processing::core::in_currency;
use rust_decimal::Decimal;

/// What a customer paid and may not have wanted to; the bank's own corrections are not disputed.
const DISPUTABLE: [&str; 4] = ["withdrawal", "transfer", "payment", "fee"];

/// What `txn_processing.dispute_policies` says of an account type.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    pub provisional_credit: bool,
    pub charge_back: bool,
    pub window_days: i32,
    pub minimum: Decimal,
    pub maximum: Option<Decimal>,
}

/// The transaction that is to be disputed.
#[derive(Clone, Debug)]
pub struct Contested {
    pub kind: String,
    pub legs: i64,
    pub amount: Decimal,
    pub currency: String,
    pub created_at: i64,
    pub debits_customer: bool,
    /// Of the debited account.
    pub policy: Option<Policy>,
}

impl Contested {
    /// The policy that it is disputed under, or why it cannot be; `now` as `created_at`. Nothing of what is looked at
    /// here is changed by postings.
    pub fn policy(&self, now: i64) -> Result<&Policy, String> {
        if !DISPUTABLE.contains(&self.kind.as_str()) {
            return Err(format!("is of type {}, which is not disputed", self.kind));
        }
        if self.legs > 1 {
            return Err("has several legs, which are reversed, not disputed".into());
        }
        if !self.debits_customer {
            return Err("debits an account of the bank".into());
        }
        let policy = self.policy.as_ref().ok_or("debits an account whose type has no dispute policy")?;
        if now - self.created_at > i64::from(policy.window_days) * MICROS_PER_DAY {
            return Err(format!("is older than the {} days in which it can be disputed", policy.window_days));
        }
        Ok(policy)
    }

    /// How much is disputed: what was asked for, else all that is left after `given_back`.
    pub fn amount(
        &self,
        policy: &Policy,
        given_back: Decimal,
        asked: Option<Decimal>,
    ) -> Result<Decimal, Refusal> {
        let left = self.amount - given_back;
        if left <= Decimal::ZERO {
            return Err(Refusal::Why(format!("is given back in full ({given_back})")));
        }
        let amount = match asked {
            Some(asked) => in_currency(asked, self.amount.scale(), &self.currency).map_err(Refusal::Other)?,
            None => left,
        };
        if amount > left {
            return Err(Refusal::Why(format!("has {left} left of {}, {amount} was disputed", self.amount)));
        }
        if amount < policy.minimum {
            return Err(Refusal::Why(format!("cannot be disputed for less than {}", policy.minimum)));
        }
        if let Some(maximum) = policy.maximum.filter(|maximum| amount > *maximum) {
            return Err(Refusal::Why(format!("cannot be disputed for more than {maximum}")));
        }
        Ok(amount)
    }
}

/// Why a transaction cannot be disputed, as a clause about it, or another error.
#[derive(Debug)]
pub enum Refusal {
    Why(String),
    Other(Error),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Won,
    Lost,
    Partial,
    Withdrawn,
}

impl Outcome {
    pub fn of(name: &str) -> Option<Self> {
        [Outcome::Won, Outcome::Lost, Outcome::Partial, Outcome::Withdrawn]
            .into_iter()
            .find(|outcome| outcome.name() == name)
    }

    pub fn name(self) -> &'static str {
        match self {
            Outcome::Won => "won",
            Outcome::Lost => "lost",
            Outcome::Partial => "partial",
            Outcome::Withdrawn => "withdrawn",
        }
    }

    /// What the customer keeps of the disputed amount.
    pub fn kept(self, disputed: Decimal, part: Option<Decimal>, currency: &str) -> Result<Decimal, Error> {
        let refuse = |why| Err(Error::ArgumentBounds { argument: "amount", why });
        match (self, part) {
            (Outcome::Partial, None) => Err(Error::NullArgument { name: "amount" }),
            (Outcome::Partial, Some(part)) => {
                let part = in_currency(part, disputed.scale(), currency)?;
                if part <= Decimal::ZERO || part >= disputed {
                    return refuse(format!("It is {part}; a part is above zero and below {disputed}."));
                }
                Ok(part)
            }
            (_, Some(_)) => refuse(format!("The outcome {} has no amount of its own.", self.name())),
            (Outcome::Won, None) => Ok(disputed),
            (Outcome::Lost | Outcome::Withdrawn, None) => {
                let mut nothing = Decimal::ZERO;
                nothing.rescale(disputed.scale());
                Ok(nothing)
            }
        }
    }
}

/// What a resolution moves; zero: nothing. All of it passes the account `disputes`, which is left with nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moves {
    /// To the customer, who was given nothing before.
    pub credit: Decimal,
    /// Back from the customer.
    pub claw_back: Decimal,
    /// From the one who bears it.
    pub borne: Decimal,
}

pub fn moves(disputed: Decimal, kept: Decimal, provisional: bool) -> Moves {
    let nothing = Decimal::ZERO;
    if provisional {
        Moves { credit: nothing, claw_back: disputed - kept, borne: kept }
    } else {
        Moves { credit: kept, claw_back: nothing, borne: kept }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DAY: i64 = MICROS_PER_DAY;

    fn policy() -> Policy {
        Policy {
            provisional_credit: true,
            charge_back: false,
            window_days: 120,
            minimum: Decimal::from(5),
            maximum: Some(Decimal::from(500)),
        }
    }

    fn payment() -> Contested {
        Contested {
            kind: "payment".into(),
            legs: 1,
            amount: Decimal::new(100_000, 2),
            currency: "USD".into(),
            created_at: 0,
            debits_customer: true,
            policy: Some(policy()),
        }
    }

    #[test]
    fn only_what_a_customer_paid_lately_is_disputed() {
        assert!(payment().policy(120 * DAY).is_ok());
        assert!(payment().policy(120 * DAY + 1).is_err());
        for kind in ["deposit", "interest", "refund", "reversal", "adjustment"] {
            assert!(Contested { kind: kind.into(), ..payment() }.policy(0).is_err(), "{kind}");
        }
        assert!(Contested { legs: 2, ..payment() }.policy(0).is_err());
        assert!(Contested { debits_customer: false, ..payment() }.policy(0).is_err());
        assert!(Contested { policy: None, ..payment() }.policy(0).is_err());
    }

    #[test]
    fn amounts_keep_to_what_is_left_and_to_the_policy() {
        let amount = |given_back: i64, asked: Option<i64>| {
            payment().amount(&policy(), Decimal::from(given_back), asked.map(Decimal::from)).ok()
        };
        assert_eq!(amount(600, None), Some(Decimal::from(400)));
        assert_eq!(amount(0, None), None, "above the largest");
        assert_eq!(amount(600, Some(401)), None);
        assert_eq!(amount(600, Some(5)), Some(Decimal::from(5)));
        assert_eq!(amount(600, Some(4)), None, "below the least");
        assert_eq!(amount(1_000, None), None);
        let cents = payment().amount(&policy(), Decimal::ZERO, Some(Decimal::new(5_001, 3)));
        assert!(matches!(cents, Err(Refusal::Other(Error::InvalidAmount { .. }))));
    }

    #[test]
    fn only_a_partial_outcome_has_an_amount() {
        let disputed = Decimal::new(1_000, 2);
        let kept = |outcome: Outcome, part| outcome.kept(disputed, part, "USD");
        assert_eq!(kept(Outcome::Won, None).ok(), Some(disputed));
        assert_eq!(kept(Outcome::Partial, Some(Decimal::from(4))).ok(), Some(Decimal::from(4)));
        assert!(matches!(kept(Outcome::Partial, None), Err(Error::NullArgument { .. })));
        for (outcome, part) in [
            (Outcome::Partial, 10),
            (Outcome::Partial, 0),
            (Outcome::Partial, -1),
            (Outcome::Won, 5),
            (Outcome::Lost, 5),
        ] {
            let refused = kept(outcome, Some(Decimal::from(part)));
            assert!(matches!(refused, Err(Error::ArgumentBounds { .. })), "{outcome:?} {part}");
        }
    }

    proptest! {
        #[test]
        fn every_outcome_leaves_nothing_on_the_account_between(
            disputed in 2i64..1_000_000,
            part in 1i64..1_000_000,
            provisional: bool,
            outcome in prop::sample::select(vec!["won", "lost", "partial", "withdrawn"]),
        ) {
            let disputed = Decimal::new(disputed, 2);
            let outcome = Outcome::of(outcome).expect("one of them");
            let part = (outcome == Outcome::Partial).then(|| Decimal::new(part, 2));
            prop_assume!(part.is_none_or(|part| part < disputed));
            let kept = outcome.kept(disputed, part, "USD").expect("within the bounds");
            let Moves { credit, claw_back, borne } = moves(disputed, kept, provisional);
            let provided = if provisional { disputed } else { Decimal::ZERO };
            prop_assert_eq!(provided + credit - claw_back - borne, Decimal::ZERO);
            prop_assert_eq!(provided + credit - claw_back, kept);
        }
    }
}
