//! How roll-outs go, as the operator is told by `--rollout`: for all, and otherwise for some namespaces or labels.

use std::{collections::BTreeMap, str::FromStr, time::Duration};

use edgereel_crds::units;
use serde::Deserialize;

use super::window::{MaintenanceWindow, Window};

/// So many at once: a number, or a part of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// So many.
    Number(usize),
    /// A part of all, in percent.
    Percent(usize),
}

impl Amount {
    /// Of so many; rounded down, and never none.
    pub fn of(self, all: usize) -> usize {
        match self {
            Amount::Number(number) => number,
            Amount::Percent(percent) => all * percent / 100,
        }
        .max(1)
    }
}

impl FromStr for Amount {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("`{text}` is neither a number from 1 on, such as `2`, nor a percentage, such as `10%`");
        let (digits, make): (_, fn(usize) -> Amount) = match text.strip_suffix('%') {
            Some(digits) => (digits, Amount::Percent),
            None => (text, Amount::Number),
        };
        let number = digits.parse::<usize>().map_err(|_| bad())?;
        let most = if text.ends_with('%') { 100 } else { usize::MAX };
        if (1..=most).contains(&number) { Ok(make(number)) } else { Err(bad()) }
    }
}

/// A number or a text, as YAML has them.
#[derive(Deserialize)]
#[serde(untagged)]
enum Loose {
    Number(u64),
    Text(String),
}

fn amount(value: Loose) -> Result<Amount, String> {
    match value {
        Loose::Number(number) => number.to_string().parse(),
        Loose::Text(text) => text.parse(),
    }
}

/// What can be said of the roll-outs of some; what is not said is as for all.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Given {
    max_unavailable: Option<Loose>,
    pause_between: Option<units::Duration>,
    halt_after_failures: Option<usize>,
    maintenance_window: Option<MaintenanceWindow>,
    namespaces: Vec<String>,
    selector: BTreeMap<String, String>,
    overrides: Vec<Given>,
}

/// How roll-outs go in one fleet.
#[derive(Clone, Debug, PartialEq)]
pub struct Pace {
    /// How many may be without their old pods, and not yet well with the new ones.
    pub max_unavailable: Amount,
    /// How long one that has become ready stays a reason to wait.
    pub pause_between: Duration,
    /// How many failures end it.
    pub halt_after_failures: usize,
    /// When; none: at any time.
    pub window: Option<Window>,
}

impl Default for Pace {
    fn default() -> Self {
        Pace {
            max_unavailable: Amount::Percent(10),
            pause_between: Duration::from_secs(30),
            halt_after_failures: 1,
            window: None,
        }
    }
}

/// Those that go by a pace of their own, counted apart from all others.
#[derive(Clone, Debug, PartialEq)]
struct Fleet {
    namespaces: Vec<String>,
    selector: BTreeMap<String, String>,
    pace: Pace,
}

/// How roll-outs go.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RolloutSettings {
    pace: Pace,
    fleets: Vec<Fleet>,
}

impl RolloutSettings {
    /// The fleet that a resource belongs to: the first that it fits into, else that of all others, which is 0.
    pub fn fleet(&self, namespace: &str, labels: &BTreeMap<String, String>) -> usize {
        let fits = |fleet: &Fleet| {
            (fleet.namespaces.is_empty() || fleet.namespaces.iter().any(|name| name == namespace))
                && fleet.selector.iter().all(|(key, value)| labels.get(key) == Some(value))
        };
        self.fleets.iter().position(fits).map_or(0, |position| position + 1)
    }

    /// How it goes there.
    pub fn pace(&self, fleet: usize) -> &Pace {
        fleet.checked_sub(1).and_then(|position| self.fleets.get(position)).map_or(&self.pace, |fleet| &fleet.pace)
    }
}

fn pace(given: &mut Given, otherwise: &Pace, at: &str) -> Result<Pace, String> {
    let named = |field: &str, error: String| format!("{at}{field}: {error}");
    let max_unavailable = given.max_unavailable.take().map(amount).transpose();
    let window = given.maintenance_window.take().map(Window::try_from).transpose();
    if given.halt_after_failures == Some(0) {
        return Err(named("haltAfterFailures", "it is at least 1".into()));
    }
    Ok(Pace {
        max_unavailable: max_unavailable.map_err(|e| named("maxUnavailable", e))?.unwrap_or(otherwise.max_unavailable),
        pause_between: given.pause_between.map_or(otherwise.pause_between, |pause| *pause),
        halt_after_failures: given.halt_after_failures.unwrap_or(otherwise.halt_after_failures),
        window: window.map_err(|e| named("maintenanceWindow", e))?.or_else(|| otherwise.window.clone()),
    })
}

impl FromStr for RolloutSettings {
    type Err = String;

    /// YAML, or JSON.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut given: Given = serde_yaml::from_str(text).map_err(|e| e.to_string())?;
        if !given.namespaces.is_empty() || !given.selector.is_empty() {
            return Err("namespaces and selector belong to an entry of overrides".into());
        }
        let all = pace(&mut given, &Pace::default(), "")?;
        let mut fleets = Vec::new();
        for (n, mut own) in given.overrides.into_iter().enumerate() {
            let at = format!("overrides[{n}].");
            if own.namespaces.is_empty() && own.selector.is_empty() {
                return Err(format!("overrides[{n}]: say for whom: namespaces, or a selector of labels"));
            }
            if !own.overrides.is_empty() {
                return Err(format!("{at}overrides: there is no override of an override"));
            }
            let pace = pace(&mut own, &all, &at)?;
            fleets.push(Fleet { namespaces: own.namespaces, selector: own.selector, pace });
        }
        Ok(RolloutSettings { pace: all, fleets })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_all_is_rounded_down_and_never_none() {
        for (text, all, expected) in [("10%", 200, 20), ("10%", 15, 1), ("10%", 3, 1), ("100%", 3, 3), ("4", 3, 4)] {
            assert_eq!(text.parse::<Amount>().expect("an amount").of(all), expected, "{text} of {all}");
        }
        for text in ["0", "0%", "101%", "-1", "ten", "", "%"] {
            assert!(text.parse::<Amount>().is_err_and(|e| e.contains("neither a number")), "{text}");
        }
    }

    #[test]
    fn some_go_by_a_pace_of_their_own_and_the_rest_of_it_is_that_of_all() {
        let settings: RolloutSettings = r#"{"maxUnavailable": 2, "pauseBetween": "1m", "overrides": [
            {"namespaces": ["lab"], "selector": {"tier": "test"}, "maxUnavailable": "100%"},
            {"selector": {"tier": "main"}, "haltAfterFailures": 3}]}"#
            .parse()
            .expect("settings");
        let labels = |tier: &str| BTreeMap::from([("tier".to_owned(), tier.to_owned())]);
        assert_eq!(settings.fleet("lab", &labels("test")), 1);
        assert_eq!(settings.fleet("other", &labels("test")), 0);
        assert_eq!(settings.fleet("lab", &labels("main")), 2);
        assert_eq!(settings.pace(1).max_unavailable, Amount::Percent(100));
        assert_eq!(settings.pace(1).pause_between, Duration::from_secs(60));
        assert_eq!((settings.pace(2).max_unavailable, settings.pace(2).halt_after_failures), (Amount::Number(2), 3));
    }

    #[test]
    fn what_cannot_be_read_is_refused_with_its_place() {
        for (text, expected) in [
            ("{maxUnavailable: 0}", "maxUnavailable: `0` is neither"),
            ("{haltAfterFailures: 0}", "haltAfterFailures: it is at least 1"),
            ("{paceBetween: 30s}", "paceBetween"),
            ("{pauseBetween: 30}", "unit"),
            ("{overrides: [{maxUnavailable: 1}]}", "overrides[0]: say for whom"),
            ("{overrides: [{namespaces: [a], maxUnavailable: x}]}", "overrides[0].maxUnavailable: `x`"),
            ("{maintenanceWindow: {schedule: nightly, duration: 2h}}", "maintenanceWindow: schedule: `nightly`"),
        ] {
            let error = text.parse::<RolloutSettings>().expect_err(text);
            assert!(error.contains(expected), "{text}: {error}");
        }
        assert_eq!("{}".parse(), Ok(RolloutSettings::default()));
    }
}
