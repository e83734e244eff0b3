//! Time zones by name, as they stand in names of files.
//!
//! Only from the database that is built in: a name is a function of the record, and must not change with the machine.

use std::sync::LazyLock;

use jiff::tz::{TimeZone, TimeZoneDatabase};

use crate::problem::{did_you_mean, shown};

static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// The time zone of an IANA name; UTC without one.
///
/// # Errors
/// What is wrong and how to write it, without the resource or field.
pub fn zone(name: Option<&str>) -> Result<TimeZone, String> {
    let Some(name) = name else { return Ok(TimeZone::UTC) };
    ZONES.get(name).map_err(|_| {
        let known: Vec<String> = ZONES.available().map(|name| name.to_string()).collect();
        let remedy = match did_you_mean(name, known.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "write a name of the IANA database, as `Europe/Rome`".into(),
        };
        format!("there is no time zone `{}`; {remedy}", shown(name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_have_the_names_that_people_know() {
        assert_eq!(zone(None), Ok(TimeZone::UTC));
        for name in ["Europe/Rome", "America/New_York", "Asia/Kolkata", "Etc/UTC"] {
            assert!(zone(Some(name)).is_ok(), "{name}");
        }
        assert_eq!(
            ["Europe/Roma", "+02:00"].map(|name| zone(Some(name)).expect_err("no zone")),
            [
                "there is no time zone `Europe/Roma`; did you mean `Europe/Rome`?",
                "there is no time zone `+02:00`; write a name of the IANA database, as `Europe/Rome`",
            ]
        );
    }
}
