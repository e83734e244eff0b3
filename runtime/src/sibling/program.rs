//! Where other programs are: beside this one, or on `PATH`.

use std::{
    env,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use edgereel_crds::name::{Kind, Program};

/// A program by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Its file's name, or its path.
    pub name: String,
    /// The package that brings it, if one does.
    pub package: Option<&'static str>,
}

impl From<Program> for Named {
    fn from(program: Program) -> Self {
        Named { name: program.name.into(), package: Some(program.package) }
    }
}

impl Named {
    /// Where it is.
    ///
    /// # Errors
    /// That it is nowhere, and what to do.
    pub fn find(&self) -> Result<PathBuf, String> {
        let beside = env::current_exe().ok().and_then(|exe| exe.parent().map(Path::to_owned));
        let path = env::var_os("PATH").unwrap_or_default();
        self.find_in(beside.into_iter().chain(env::split_paths(&path)))
    }

    fn find_in(&self, mut dirs: impl Iterator<Item = PathBuf>) -> Result<PathBuf, String> {
        let Named { name, package } = self;
        if name.contains('/') {
            let path = PathBuf::from(name);
            return if is_program(&path) { Ok(path) } else { Err(format!("{name} is no program")) };
        }
        dirs.find_map(|dir| Some(dir.join(name)).filter(|path| is_program(path))).ok_or_else(|| {
            let remedy = package.map_or_else(
                || "install it".into(),
                |package| format!("install the package `{package}` (`apt install ./{package}_*.deb`)"),
            );
            format!("`{name}`, which does this work, is neither beside this program nor on PATH: {remedy}")
        })
    }
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

/// Who runs which kinds.
#[derive(Clone, Debug)]
pub struct Programs {
    /// The kinds that another program is to run than the one that is meant for them.
    moved: Vec<(Kind, Named)>,
    /// The program that asks; none runs whatever it is given itself.
    own: Option<&'static str>,
}

impl Programs {
    /// As one program sees it; `moved` are kinds that others are to run.
    pub fn seen_by(own: &'static str, moved: Vec<(Kind, Named)>) -> Self {
        Programs { moved, own: Some(own) }
    }

    /// All is done by who asks.
    pub fn all_own() -> Self {
        Programs { moved: vec![], own: None }
    }

    /// The other program that runs a kind; none where the one that asks does it itself.
    pub fn other(&self, kind: Kind) -> Option<Named> {
        let own = self.own?;
        if let Some((_, program)) = self.moved.iter().find(|(moved, _)| *moved == kind) {
            return Some(program.clone());
        }
        kind.program().filter(|program| program.name != own).map(Named::from)
    }
}

/// Reads `KIND=PROGRAM`.
///
/// # Errors
/// What is wrong with it.
pub fn moved(text: &str) -> Result<(Kind, Named), String> {
    let (kind, name) = text.split_once('=').ok_or("write it as `FrameSink=PROGRAM`")?;
    let kind = Kind::named(kind).filter(|kind| kind.program().is_some()).ok_or_else(|| {
        let kinds = Kind::ALL.into_iter().filter(|kind| kind.program().is_some()).map(Kind::as_str);
        format!("no program runs `{kind}`: the kinds are {}", kinds.collect::<Vec<_>>().join(", "))
    })?;
    if name.is_empty() {
        return Err("name a program after `=`".into());
    }
    Ok((kind, Named { name: name.into(), package: None }))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_program_is_found_beside_this_one_before_path_and_only_if_it_can_be_run() {
        let dir = tempfile::tempdir().expect("a directory");
        let place = |name: &str, mode: u32| {
            let path = dir.path().join(name).join("edgereel-toy");
            fs::create_dir_all(path.parent().expect("a directory")).expect("made");
            fs::write(&path, "").expect("written");
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("set");
            path
        };
        let (_, beside, path) = (place("notes", 0o644), place("beside", 0o755), place("path", 0o755));
        let toy = Named { name: "edgereel-toy".into(), package: Some("edgereel-toy") };
        let dirs = |names: &[&str]| names.iter().map(|name| dir.path().join(name)).collect::<Vec<_>>().into_iter();
        assert_eq!(toy.find_in(dirs(&["notes", "beside", "path"])), Ok(beside));
        assert_eq!(toy.find_in(dirs(&["nowhere", "path"])), Ok(path));
        let missing = toy.find_in(dirs(&["notes"])).expect_err("nowhere");
        assert_eq!(
            missing,
            "`edgereel-toy`, which does this work, is neither beside this program nor on PATH: install the package \
             `edgereel-toy` (`apt install ./edgereel-toy_*.deb`)"
        );
    }

    #[test]
    fn kinds_are_run_by_their_program_unless_they_are_moved() {
        let toy = moved("FrameSink=./toy").expect("sound");
        let programs = Programs::seen_by("edgereel", vec![toy.clone()]);
        assert_eq!(programs.other(Kind::CameraStream), None);
        assert_eq!(programs.other(Kind::FrameSink), Some(toy.1));
        let vision = Programs::seen_by("edgereel-vision", vec![]);
        assert_eq!(vision.other(Kind::CameraStream).map(|other| other.name), Some("edgereel".into()));
        assert_eq!(Programs::all_own().other(Kind::CameraStream), None);
        for wrong in ["FrameSink", "Sink=x", "KafkaConnection=x", "FrameSink="] {
            assert!(moved(wrong).is_err(), "{wrong}");
        }
    }
}
