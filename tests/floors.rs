//! Holds the table of floors in ARCHITECTURE.md: a crate depends only on crates of floors below its own.

use std::collections::BTreeMap;
use std::path::Path;

fn floors() -> BTreeMap<String, u32> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ARCHITECTURE.md");
    let text = std::fs::read_to_string(path).expect("ARCHITECTURE.md");
    let mut floors = BTreeMap::new();
    for line in text.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        if let [_, floor, name, ..] = cells.as_slice()
            && let Ok(floor) = floor.parse()
        {
            floors.insert(name.trim_matches('`').to_owned(), floor);
        }
    }
    floors
}

#[test]
fn every_crate_stands_on_lower_floors_only() {
    let floors = floors();
    let metadata = cargo_metadata::MetadataCommand::new()
        .manifest_path(Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml"))
        .no_deps()
        .exec()
        .expect("cargo metadata");
    let own = |name: &str| if name == "rasft" { "bins".to_owned() } else { name.to_owned() };
    let members: Vec<String> = metadata.packages.iter().map(|p| own(&p.name)).collect();
    let listed: Vec<String> = floors.keys().cloned().collect();
    let mut sorted = members.clone();
    sorted.sort();
    assert_eq!(listed, sorted, "ARCHITECTURE.md must list exactly the crates of the workspace");
    for package in &metadata.packages {
        let name = own(&package.name);
        for dependency in package.dependencies.iter().filter(|d| d.kind == cargo_metadata::DependencyKind::Normal) {
            let below = own(&dependency.name);
            if let Some(floor) = floors.get(&below) {
                assert!(*floor < floors[&name], "{name} (floor {}) uses {below} (floor {floor})", floors[&name]);
            }
        }
    }
}
