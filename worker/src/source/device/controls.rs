//! A camera's own settings: exposure, focus, brightness and the like.

use std::collections::BTreeMap;

use edgereel_crds::status::Reason;
use v4l2r::{
    bindings::{
        V4L2_CTRL_FLAG_DISABLED, V4L2_CTRL_FLAG_READ_ONLY, v4l2_ctrl_type_V4L2_CTRL_TYPE_BOOLEAN,
        v4l2_ctrl_type_V4L2_CTRL_TYPE_BUTTON, v4l2_ctrl_type_V4L2_CTRL_TYPE_INTEGER,
        v4l2_ctrl_type_V4L2_CTRL_TYPE_INTEGER_MENU, v4l2_ctrl_type_V4L2_CTRL_TYPE_MENU, v4l2_queryctrl,
    },
    ioctl::{self, CtrlId, QueryCtrlFlags},
};

use super::node::{Node, errno};
use crate::source::SourceError;

/// No camera has more.
const MOST: usize = 1024;

/// A setting that a camera has.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Control {
    id: u32,
    /// As `v4l2-ctl` writes it.
    name: String,
    minimum: i32,
    maximum: i32,
}

/// Sets what is wanted.
///
/// # Errors
/// It does not have one, or takes no such value: what it has.
pub fn set(node: &Node, wanted: &BTreeMap<String, i32>) -> Result<(), SourceError> {
    if wanted.is_empty() {
        return Ok(());
    }
    let all = controls(node);
    let mut chosen = vec![];
    for (name, value) in wanted {
        chosen.push((find(&all, name, *value).map_err(|why| refused(node, name, &why))?, *value));
    }
    // Some take a value only while another has one: focus while autofocus is off. So what fails is tried after the others.
    let failing: Vec<&(&Control, i32)> =
        chosen.iter().filter(|(control, value)| ioctl::s_ctrl(node, control.id, *value).is_err()).collect();
    for (control, value) in failing {
        if let Err(error) = ioctl::s_ctrl(node, control.id, *value) {
            let why = format!("{value} is refused ({}): is it automatic now?", errno(error).desc());
            return Err(refused(node, &control.name, &why));
        }
    }
    Ok(())
}

fn refused(node: &Node, name: &str, why: &str) -> SourceError {
    node.error(Reason::InvalidConfiguration, format!("spec.source.device.controls.{name}: {why}"))
}

/// The control of this name, if it takes the value; else what to say.
fn find<'a>(all: &'a [Control], name: &str, value: i32) -> Result<&'a Control, String> {
    let Some(control) = all.iter().find(|control| control.name == name) else {
        let have: Vec<String> = all
            .iter()
            .map(|Control { name, minimum, maximum, .. }| format!("{name} ({minimum} to {maximum})"))
            .collect();
        let have = if have.is_empty() { "none".into() } else { have.join(", ") };
        return Err(format!("it has no such control; it has {have}"));
    };
    if !(control.minimum..=control.maximum).contains(&value) {
        let Control { minimum, maximum, .. } = control;
        return Err(format!("{value} is out of range: write {minimum} to {maximum}"));
    }
    Ok(control)
}

/// Those that a number can be written to.
fn controls(node: &Node) -> Vec<Control> {
    let (mut all, mut last) = (vec![], 0);
    while all.len() < MOST {
        let Ok(id) = CtrlId::new(last) else { break };
        let Ok(next) = ioctl::queryctrl::<v4l2_queryctrl>(node, id, QueryCtrlFlags::NEXT) else { break };
        if next.id <= last {
            break;
        }
        last = next.id;
        all.extend(control(&next));
    }
    all
}

fn control(described: &v4l2_queryctrl) -> Option<Control> {
    let numbers = [
        v4l2_ctrl_type_V4L2_CTRL_TYPE_INTEGER,
        v4l2_ctrl_type_V4L2_CTRL_TYPE_BOOLEAN,
        v4l2_ctrl_type_V4L2_CTRL_TYPE_MENU,
        v4l2_ctrl_type_V4L2_CTRL_TYPE_INTEGER_MENU,
        v4l2_ctrl_type_V4L2_CTRL_TYPE_BUTTON,
    ];
    let locked = described.flags & (V4L2_CTRL_FLAG_DISABLED | V4L2_CTRL_FLAG_READ_ONLY) != 0;
    (!locked && numbers.contains(&described.type_)).then(|| Control {
        id: described.id,
        name: plain_name(&described.name),
        minimum: described.minimum,
        maximum: described.maximum,
    })
}

/// `Exposure Time, Absolute` is `exposure_time_absolute`, as v4l2-ctl has it.
fn plain_name(name: &[u8]) -> String {
    let letters = name.iter().take_while(|byte| **byte != 0);
    let mut plain = String::new();
    for letter in letters {
        match letter {
            letter if letter.is_ascii_alphanumeric() => plain.push(char::from(letter.to_ascii_lowercase())),
            _ if plain.is_empty() || plain.ends_with('_') => {}
            _ => plain.push('_'),
        }
    }
    plain.trim_end_matches('_').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controls_have_the_names_that_people_know_from_v4l2_ctl() {
        for (name, expected) in [
            ("Exposure Time, Absolute\0\0", "exposure_time_absolute"),
            ("White Balance, Automatic\0", "white_balance_automatic"),
            ("Brightness", "brightness"),
            ("Pan (Absolute)\0x", "pan_absolute"),
            ("\0", ""),
        ] {
            assert_eq!(plain_name(name.as_bytes()), expected);
        }
    }

    #[test]
    fn what_a_camera_does_not_have_or_take_says_what_it_does() {
        let control = |name: &str, minimum, maximum| Control { id: 1, name: name.into(), minimum, maximum };
        let all = [control("brightness", 0, 255), control("gain", -8, 8)];
        assert_eq!(find(&all, "gain", -8), Ok(&all[1]));
        let words = |name, value| find(&all, name, value).expect_err("refused");
        assert_eq!(words("gain", 9), "9 is out of range: write -8 to 8");
        assert_eq!(words("focus", 1), "it has no such control; it has brightness (0 to 255), gain (-8 to 8)");
        assert_eq!(find(&[], "focus", 1).expect_err("refused"), "it has no such control; it has none");
    }
}
