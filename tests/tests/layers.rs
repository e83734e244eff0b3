//! What may use what: crates in one direction, modules of a crate in one direction, no circle between two files.
//!
//! A newcomer who knows the order knows where to look, and a crate that comes to know one thing too many is seen at once.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use edgereel_tests::project_root;
use syn::{
    Attribute, Item, ItemUse, UseTree,
    visit::{self, Visit},
};

/// Our crates, each with those of ours that it may use, and the libraries that no other of ours names.
const CRATES: &[(&str, &[&str], &[&str])] = &[
    ("crds", &[], &["schemars", "saphyr-parser"]),
    ("runtime", &["crds"], &["axum", "prometheus-client"]),
    ("kafka", &["crds", "runtime"], &["rdkafka"]),
    ("frame", &["crds"], &[]),
    ("worker", &["crds", "runtime", "kafka", "frame"], &["ffmpeg-next", "object_store"]),
];

/// The modules of a crate: each uses those before it, or its neighbours in the same group.
const ORDERS: &[(&str, &[&[&str]])] = &[
    ("crds", &[&["redact"], &["problem"], &["api"], &["plan"], &["check"], &["document"], &["publish"]]),
    (
        "runtime",
        &[
            &["backoff", "clock", "plain", "throttle"],
            &["fault", "metrics", "secrets", "state"],
            &["work"],
            &["run"],
            &["cli", "metrics_files", "serve", "sibling"],
            &["table"],
            &["command"],
        ],
    ),
    (
        "worker",
        &[
            &["bucket", "ffmpeg", "pacing", "synthetic"],
            &["source"],
            &["capture", "sink"],
            &["folder"],
            &["videos"],
            &["bench", "check", "discover", "kinds", "replay", "verify"],
            &["export"],
            &["cli"],
        ],
    ),
];

/// A module is its names from the crate's root on.
type Module = Vec<String>;

/// Which of a crate's files use which others, in their code, not in their tests.
fn uses(krate: &str) -> BTreeMap<Module, BTreeSet<Module>> {
    let src = project_root().join(krate).join("src");
    let files = rust_files(&src);
    let modules: BTreeMap<Module, &PathBuf> = files.iter().map(|file| (module_of(&src, file), file)).collect();
    let read = |file: &Path| syn::parse_file(&fs::read_to_string(file).expect("readable")).expect("Rust");
    let of = |(module, file): (&Module, &&PathBuf)| {
        let mut found = Found { module: module.clone(), paths: vec![] };
        found.visit_file(&read(file));
        let target = |path: &Vec<String>| {
            let known = (1..=path.len()).rev().map(|n| path[..n].to_vec()).find(|prefix| modules.contains_key(prefix));
            known.filter(|target| target != module)
        };
        (module.clone(), found.paths.iter().filter_map(target).collect())
    };
    modules.iter().map(of).collect()
}

fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let mut files = vec![];
    for entry in fs::read_dir(dir).expect("a folder of sources") {
        let path = entry.expect("readable").path();
        if path.is_dir() && !path.ends_with("bin") {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|e| e == "rs") && !is_test(&path) {
            files.push(path);
        }
    }
    files
}

/// Files that only tests use, by the names that they have here.
fn is_test(path: &Path) -> bool {
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    stem.ends_with("tests") || stem == "testing" || stem == "samples" || path.iter().any(|part| part == "tests")
}

fn module_of(src: &Path, file: &Path) -> Module {
    let relative = file.strip_prefix(src).expect("below").with_extension("");
    let mut names: Module = relative.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if names.last().is_some_and(|last| ["mod", "lib", "main"].contains(&last.as_str())) {
        names.pop();
    }
    names
}

/// The paths of one file, from the crate's root on.
struct Found {
    module: Module,
    paths: Vec<Vec<String>>,
}

impl Found {
    fn add(&mut self, path: &[String]) {
        let mut names = path.iter();
        let mut absolute = match path.first().map(String::as_str) {
            Some("crate") => vec![],
            Some("self" | "super") => self.module.clone(),
            _ => return,
        };
        for name in names.by_ref() {
            match name.as_str() {
                "crate" | "self" => {}
                "super" => drop(absolute.pop()),
                name => absolute.push(name.to_owned()),
            }
        }
        self.paths.push(absolute);
    }

    fn add_tree(&mut self, before: &[String], tree: &UseTree) {
        let with = |name: &syn::Ident| [before, &[name.to_string()]].concat();
        match tree {
            UseTree::Path(path) => self.add_tree(&with(&path.ident), &path.tree),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.add_tree(before, tree)),
            UseTree::Name(name) => self.add(&with(&name.ident)),
            UseTree::Rename(rename) => self.add(&with(&rename.ident)),
            UseTree::Glob(_) => self.add(before),
        }
    }
}

fn is_of_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg") && attribute.parse_args::<syn::Path>().is_ok_and(|path| path.is_ident("test"))
    })
}

impl<'ast> Visit<'ast> for Found {
    fn visit_item(&mut self, item: &'ast Item) {
        let attributes = match item {
            Item::Mod(item) => &item.attrs,
            Item::Use(item) => &item.attrs,
            Item::Fn(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            _ => return visit::visit_item(self, item),
        };
        if !is_of_tests(attributes) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.add_tree(&[], &item.tree);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.add(&names);
        visit::visit_path(self, path);
    }
}

#[test]
fn crates_use_those_before_them_and_libraries_have_one_place() {
    let manifest = |krate: &str| {
        let text = fs::read_to_string(project_root().join(krate).join("Cargo.toml")).expect("a manifest");
        let (_, dependencies) = text.split_once("[dependencies]").expect("has some");
        let dependencies = dependencies.split("\n[").next().unwrap_or_default().to_owned();
        let name = |line: &str| line.split(['.', ' ', '=']).next().unwrap_or_default().to_owned();
        dependencies.lines().map(name).filter(|name| !name.is_empty()).collect::<BTreeSet<String>>()
    };
    for (krate, may, _) in CRATES {
        let ours = manifest(krate);
        let ours: BTreeSet<&str> = ours.iter().filter_map(|name| name.strip_prefix("edgereel-")).collect();
        assert!(ours.is_subset(&may.iter().copied().collect()), "{krate} uses {ours:?}, and may use {may:?}");
    }
    for (owner, _, libraries) in CRATES {
        for (krate, ..) in CRATES.iter().filter(|(krate, ..)| krate != owner) {
            let all = manifest(krate);
            // The handles of a kind's metrics stand beside its code.
            let others = libraries.iter().filter(|library| all.contains(**library) && **library != "prometheus-client");
            assert_eq!(others.count(), 0, "{krate} names one of {libraries:?}, which are {owner}'s");
        }
    }
}

#[test]
fn modules_use_those_before_them() {
    for (krate, order) in ORDERS {
        let place = |module: &Module| {
            let first = module.first()?;
            let found = order.iter().position(|group| group.contains(&first.as_str()));
            Some(found.unwrap_or_else(|| panic!("{krate}: the order does not name {first}: give it its place")))
        };
        for (module, targets) in uses(krate) {
            for target in &targets {
                if let (Some(own), Some(others)) = (place(&module), place(target)) {
                    let fine = others <= own;
                    assert!(fine, "{krate}: {} uses {}, which comes later", module.join("::"), target.join("::"));
                }
            }
        }
    }
}

#[test]
fn no_two_files_use_each_other() {
    let mut circles = vec![];
    for (krate, ..) in CRATES {
        let uses = uses(krate);
        // A module and what it is made of belong together.
        let related = |a: &Module, b: &Module| a.starts_with(b) || b.starts_with(a);
        for (module, targets) in &uses {
            for target in targets.iter().filter(|target| *target > module && !related(module, target)) {
                if uses.get(target).is_some_and(|back| back.contains(module)) {
                    circles.push(format!("{krate}: {} and {}", module.join("::"), target.join("::")));
                }
            }
        }
    }
    assert!(circles.is_empty(), "these use each other:\n{}", circles.join("\n"));
}
