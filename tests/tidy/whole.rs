//! What holds for the house as a whole: no two files import each other, and it does not grow.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::source::{Source, is_test};
use super::{Complaints, is_product, sources};

/// What the product may measure, in lines of code without tests, comments and blank lines. Lower this when the house has
/// shrunk; raise it only for something new that callers see.
const MAX_PRODUCT_LINES: usize = 32_000;

/// How often a name may be exported on until it is defined.
const MAX_ALIASES: usize = 8;

/// The files of one crate, by module.
struct Crate<'a> {
    files: BTreeMap<Vec<String>, &'a Source>,
    /// What a module has brought in with `use`: its own path for it, and where it is from.
    aliases: BTreeMap<Vec<String>, Vec<String>>,
}

impl<'a> Crate<'a> {
    fn new(sources: &[&'a Source]) -> Self {
        let files = sources.iter().map(|source| (source.module(), *source)).collect();
        let aliases = sources.iter().flat_map(|source| {
            let (uses, _) = source.uses_and_imports();
            uses.into_iter().filter_map(|path| {
                let (_, from) = path.split_first().filter(|(root, _)| *root == "crate")?;
                let mut here = source.module();
                here.push(from.last()?.clone());
                (here != from).then(|| (here, from.to_vec()))
            })
        });
        Self { files, aliases: aliases.collect() }
    }

    /// The file that a path leads to, and the name that is used of it.
    fn target(&self, path: &[String]) -> Option<(&'a Source, Option<String>)> {
        let mut path = path.to_vec();
        for _ in 0..MAX_ALIASES {
            let module = (0..=path.len()).rev().find(|at| self.files.contains_key(&path[..*at]))?;
            let name = path.get(module).cloned();
            match self.aliases.get(&path[..path.len().min(module + 1)]) {
                Some(from) if name.is_some() => drop(path.splice(..=module, from.clone())),
                _ => return Some((self.files[&path[..module]], name)),
            }
        }
        None
    }

    /// The files whose items a file uses. To export another file's items is no use of them, and neither is it to give
    /// methods to another file's type: so a type can have its methods in several files of its module.
    fn imports(&self, source: &Source) -> BTreeSet<&'a Path> {
        let (_, imports) = source.uses_and_imports();
        let imports = imports.iter().filter_map(|path| {
            let (_, path) = path.split_first().filter(|(root, _)| *root == "crate")?;
            let (target, name) = self.target(path)?;
            let is_import =
                target.path != source.path && !name.is_some_and(|name| only_gets_methods(source, &name));
            is_import.then_some(target.path.as_path())
        });
        imports.collect()
    }
}

/// Whether a name of elsewhere is used for nothing but `impl Name` and `impl Trait for Name`.
fn only_gets_methods(source: &Source, name: &str) -> bool {
    let statements = source.tokens.split(|token| token.text == ";");
    let code =
        statements.flat_map(|statement| match statement.iter().rposition(|token| token.text == "use") {
            Some(used) => &statement[..used],
            None => statement,
        });
    let code: Vec<&str> = code.map(|token| token.text.as_str()).collect();
    let mut uses = code.windows(2).filter(|window| window[1] == name).peekable();
    uses.peek().is_some() && uses.all(|window| matches!(window[0], "impl" | "for"))
}

/// Two files that import each other cannot be understood one after the other.
fn circles(sources: &[Source]) -> Vec<(&Path, &Path)> {
    let product = sources.iter().filter(|source| is_product(source) && !is_test(&source.path, sources));
    let mut crates: BTreeMap<&Path, Vec<&Source>> = BTreeMap::new();
    for source in product {
        let root = source.path.iter().position(|part| part == "src").unwrap_or_default();
        let root = source.path.ancestors().nth(source.path.iter().count() - root).unwrap_or(Path::new(""));
        crates.entry(root).or_default().push(source);
    }
    let mut found = Vec::new();
    for files in crates.values() {
        let house = Crate::new(files);
        let imports: BTreeMap<&Path, BTreeSet<&Path>> =
            files.iter().map(|source| (source.path.as_path(), house.imports(source))).collect();
        for (one, imported) in &imports {
            let back = imported.iter().filter(|other| *one < **other && imports[*other].contains(one));
            found.extend(back.map(|other| (*one, *other)));
        }
    }
    found
}

#[test]
fn no_two_files_import_each_other() {
    let circles: Complaints = circles(sources())
        .into_iter()
        .map(|(one, other)| format!("{} and {} import each other", one.display(), other.display()))
        .collect();
    assert!(circles.is_empty(), "\n{}\n", circles.join("\n"));
}

#[test]
fn the_house_does_not_grow() {
    let sources = sources();
    let product = sources.iter().filter(|source| is_product(source) && !is_test(&source.path, sources));
    let lines: usize = product.map(Source::product_lines).sum();
    assert!(lines > 1000, "the sources were read");
    assert!(lines <= MAX_PRODUCT_LINES, "{lines} lines of product code, and {MAX_PRODUCT_LINES} are allowed");
}

#[track_caller]
fn assert_circles(files: &[(&str, &str)], expected: &[(&str, &str)]) {
    let sources: Vec<Source> = files.iter().map(|(path, text)| Source::new(path, text)).collect();
    let expected: Vec<_> = expected.iter().map(|(one, other)| (Path::new(one), Path::new(other))).collect();
    assert_eq!(circles(&sources), expected);
}

#[test]
fn files_that_import_each_other_are_found() {
    let both = [("src/store/a.rs", "src/store/b.rs")];
    assert_circles(
        &[
            ("src/store/a.rs", "use super::b::B; struct A;"),
            ("src/store/b.rs", "fn f() -> crate::store::a::A {}"),
        ],
        &both,
    );
    // Names lead to where they are defined.
    assert_circles(
        &[
            ("src/store/mod.rs", "mod a; mod b; pub use a::A; use b::B;"),
            ("src/store/a.rs", "use super::B; pub struct A;"),
            ("src/store/b.rs", "use super::A; struct B;"),
        ],
        &[both[0]],
    );
    assert_circles(
        &[
            ("src/config.rs", "mod read; fn load() { read::all() }"),
            ("src/config/read.rs", "use super::Config;"),
        ],
        &[("src/config/read.rs", "src/config.rs")],
    );
}

#[test]
fn what_is_exported_what_gets_methods_and_tests_are_no_imports() {
    assert_circles(
        &[
            (
                "src/store/mod.rs",
                "mod a; mod b; pub use a::A; pub(crate) use b::{B, C}; trait Store {} use b::Lines;",
            ),
            ("src/store/a.rs", "use super::Store; impl Store for A {}"),
            ("src/store/b.rs", "use super::Sqlite; impl Sqlite {} impl Drop for Sqlite {}"),
        ],
        &[],
    );
    assert_circles(
        &[
            ("src/http/a.rs", "use super::b; #[cfg(test)] mod tests { fn f() {} }"),
            ("src/http/b.rs", "fn f() {} #[cfg(test)] mod tests { use super::super::a::A; }"),
            ("events/src/a.rs", "use crate::b::B;"),
            ("projections/src/b.rs", "use crate::a::A;"),
        ],
        &[],
    );
}

#[test]
fn lines_of_code_are_counted_without_tests_comments_and_blanks() {
    let text = "//! A.\n\nfn f() { // why\n    g(\"two\n      lines\");\n}\n/* no\n */\n#[cfg(test)]\nmod tests {\n    fn f() {}\n}\n";
    assert_eq!(Source::new("src/http/a.rs", text).product_lines(), 4);
}
