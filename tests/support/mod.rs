#![allow(dead_code, reason = "each test uses a part of it")]
//! Runs the real binaries in a folder of their own.

use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Path of one of the toolkit's binaries.
pub fn bin(name: &str) -> &'static str {
    match name {
        "rasft-import" => env!("CARGO_BIN_EXE_rasft-import"),
        "rasft-score" => env!("CARGO_BIN_EXE_rasft-score"),
        "rasft-rollout" => env!("CARGO_BIN_EXE_rasft-rollout"),
        "rasft-verify" => env!("CARGO_BIN_EXE_rasft-verify"),
        "rasft-train" => env!("CARGO_BIN_EXE_rasft-train"),
        "rasft-eval" => env!("CARGO_BIN_EXE_rasft-eval"),
        "rasft-store" => env!("CARGO_BIN_EXE_rasft-store"),
        other => panic!("no binary {other}"),
    }
}

/// Root of the project.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("project root")
}

/// The folder of real data and oracles, if it is there; tests that need it say that they skip.
pub fn shared() -> Option<PathBuf> {
    let dir = std::env::var_os("RASFT_SHARED").map_or_else(|| root().join("../shared"), PathBuf::from);
    if dir.is_dir() {
        return Some(dir);
    }
    eprintln!("skipped: ../shared not found");
    None
}

/// The quickstart's model, part of the project.
pub fn quickstart_model() -> PathBuf {
    root().join("pipelines/quickstart/model")
}

/// A folder with a store of its own.
pub struct Bench {
    dir: tempfile::TempDir,
}

/// What a binary did.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// The path that the binary printed.
    pub fn path(&self) -> PathBuf {
        assert_eq!(self.code, 0, "{}", self.stderr);
        assert_eq!(self.stdout.lines().count(), 1, "one line on stdout: {:?}", self.stdout);
        PathBuf::from(self.stdout.trim_end())
    }

    /// The JSON object that the binary printed.
    pub fn json(&self) -> Value {
        assert_eq!(self.code, 0, "{}", self.stderr);
        serde_json::from_str(&self.stdout).expect("one JSON object on stdout")
    }
}

impl Bench {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("temporary folder") }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn store(&self) -> PathBuf {
        self.path("store")
    }

    /// Runs a binary in this folder with this folder's store.
    pub fn run(&self, name: &str, args: &[&str]) -> Ran {
        let output = self.command(name, args).output().expect("the binary starts");
        Ran::from(output)
    }

    pub fn command(&self, name: &str, args: &[&str]) -> Command {
        let mut command = Command::new(bin(name));
        command.args(args).current_dir(self.dir.path()).env("RASFT_STORE", self.store()).env_remove("RASFT_LOG");
        command
    }

    /// Runs a binary that must succeed, and gives the path it printed.
    pub fn ok(&self, name: &str, args: &[&str]) -> String {
        self.run(name, args).path().display().to_string()
    }

    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("parent")).expect("folder");
        std::fs::File::create(&path).and_then(|mut f| f.write_all(text.as_ref())).expect("write");
        path.display().to_string()
    }

    /// A few synthetic problems.
    pub fn problems(&self, rows: usize) -> String {
        self.ok("rasft-import", &["synthetic", "--rows", &rows.to_string(), "--levels", "1..2"])
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).expect("UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("UTF-8"),
        }
    }
}

/// The interpreter that `make python` prepared.
pub fn python() -> Option<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let python = target.join("python/venv/bin/python");
    let usable = Command::new(&python).args(["-c", "import duckdb, polars"]).output().is_ok_and(|o| o.status.success());
    if !usable {
        eprintln!("skipped: no Python with duckdb and polars (`make python` prepares one)");
    }
    usable.then_some(python)
}

/// A Parquet file of text columns, as somebody else would write it.
pub fn strings_table(path: &Path, columns: &[(&str, Vec<&str>)]) -> String {
    let column = |(name, values): &(&str, Vec<&str>)| {
        let array: arrow::array::ArrayRef = std::sync::Arc::new(arrow::array::StringArray::from(values.clone()));
        (name.to_string(), array)
    };
    let batch = arrow::array::RecordBatch::try_from_iter(columns.iter().map(column)).expect("columns of equal length");
    let file = std::fs::File::create(path).expect("create");
    let mut writer = parquet::arrow::ArrowWriter::try_new(file, batch.schema(), None).expect("writer");
    writer.write(&batch).expect("write");
    writer.close().expect("close");
    path.display().to_string()
}

/// A copy of a model directory with some files left out or replaced.
pub fn model_with(to: &Path, leave_out: &[&str], replace: &[(&str, Value)]) -> String {
    std::fs::create_dir_all(to).expect("folder");
    for entry in std::fs::read_dir(quickstart_model()).expect("quickstart model") {
        let entry = entry.expect("entry");
        let name = entry.file_name().into_string().expect("UTF-8");
        if !leave_out.contains(&name.as_str()) {
            std::fs::copy(entry.path(), to.join(&name)).expect("copy");
        }
    }
    for (name, fields) in replace {
        let path = to.join(name);
        let mut value: Value =
            std::fs::read(&path).ok().and_then(|b| serde_json::from_slice(&b).ok()).unwrap_or(json!({}));
        for (key, field) in fields.as_object().expect("fields") {
            value[key] = field.clone();
        }
        std::fs::write(&path, value.to_string()).expect("write");
    }
    to.display().to_string()
}

/// Every file below a folder with its bytes, sorted by name.
pub fn files_below(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut stack = vec![dir.to_owned()];
    while let Some(dir) = stack.pop() {
        for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                stack.push(path)
            } else {
                found.push((path.clone(), std::fs::read(&path).expect("read")))
            }
        }
    }
    found.sort();
    found
}
