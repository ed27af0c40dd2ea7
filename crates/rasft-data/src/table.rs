//! The contract between a row type and its table, and the macro that keeps each table's file a list of columns.

use crate::cell::{Cell, Fault};
use crate::column::{Column, Foreign, Site};
use crate::error::DataError;
use crate::widen::{describe, widen};
use arrow::array::{Array, RecordBatch};
use arrow::datatypes::{Schema, SchemaRef};
use std::sync::Arc;

/// A row type with its columns.
pub trait Table: Sized + Send + 'static {
    /// Name of the table, as in `rasft.schema`.
    const NAME: &'static str;
    /// Version of its columns.
    const VERSION: u32;
    /// Oldest version that is still read: columns it lacks get the defaults of a foreign table.
    const OLDEST: u32 = Self::VERSION;
    /// One sentence for people.
    const ABOUT: &'static str;

    /// The columns in file order.
    fn columns() -> Vec<Column>;

    /// Rows to one batch with the columns of [`Table::columns`].
    ///
    /// # Errors
    /// When Arrow refuses the columns (a list of more than 2³¹ elements).
    fn encode(rows: &[Self]) -> Result<RecordBatch, DataError>;

    /// One batch to rows. Columns that `site` did not ask for are left blank; in foreign files optional columns that
    /// are absent get their defaults.
    ///
    /// # Errors
    /// A required column that is missing, a type that does not widen, a null or a word that may not be there.
    fn decode(batch: &RecordBatch, site: &Site) -> Result<Vec<Self>, DataError>;

    /// Fills in, after [`Table::decode`], absent columns of a foreign file that follow from others.
    fn complete(_rows: &mut [Self], _foreign: &mut Foreign) {}

    /// The Arrow schema.
    fn schema() -> SchemaRef {
        Arc::new(Schema::new(Self::columns().iter().map(Column::field).collect::<Vec<_>>()))
    }
}

/// The column called `spec.name`, decoded; `default` stands in where a foreign file has none.
pub(crate) fn column<C: Cell + Clone>(
    table: &'static str,
    batch: &RecordBatch,
    site: &Site,
    spec: Column,
    default: C,
) -> Result<std::vec::IntoIter<C>, DataError> {
    let n = batch.num_rows();
    if !site.wants(spec.name) {
        return Ok(vec![C::blank(); n].into_iter());
    }
    let Some(array) = batch.column_by_name(spec.name) else {
        if !site.native && !spec.required {
            return Ok(vec![default; n].into_iter());
        }
        let found = batch.schema().fields().iter().map(|f| f.name().clone()).collect();
        let file = site.file.clone();
        return Err(DataError::MissingColumn {
            file,
            table,
            column: spec.name,
            expected: describe(&spec.data_type),
            found,
        });
    };
    let bad = |fault: Fault| DataError::BadCell {
        file: site.file.clone(),
        row: fault.row.map(|row| site.first_row + row as u64),
        column: spec.name,
        expected: fault.expected,
        found: fault.found,
        hint: fault.hint,
    };
    let array = widen(array, &spec.field(), None).map_err(bad)?;
    Ok(C::decode(array.as_ref()).map_err(bad)?.into_iter())
}

/// Declares a table: its row type, name, version, and one line per column. `= default` marks a column that a table
/// written by somebody else may lack.
macro_rules! table {
    (
        $row:ty => $name:literal / $version:literal $(reads $oldest:literal)?, $about:literal $(, completed by $complete:path)?;
        $($column:ident: $cell:ty $(= $default:expr)?, $text:literal $(in $unit:literal)?;)+
    ) => {
        impl $crate::Table for $row {
            const NAME: &'static str = $name;
            const VERSION: u32 = $version;
            const OLDEST: u32 = $crate::table::table!(@oldest $version $($oldest)?);
            const ABOUT: &'static str = $about;

            fn columns() -> Vec<$crate::Column> {
                vec![$($crate::table::table!(@spec $column: $cell $(= $default)?, $text $(in $unit)?)),+]
            }

            fn encode(rows: &[Self]) -> Result<arrow::array::RecordBatch, $crate::DataError> {
                let columns = vec![$(<$cell as $crate::cell::Cell>::encode(rows.iter().map(|row| &row.$column))),+];
                $crate::table::batch::<Self>(columns, rows.len())
            }

            fn decode(batch: &arrow::array::RecordBatch, site: &$crate::Site) -> Result<Vec<Self>, $crate::DataError> {
                $(let mut $column = $crate::table::column::<$cell>(
                    $name,
                    batch,
                    site,
                    $crate::table::table!(@spec $column: $cell $(= $default)?, $text $(in $unit)?),
                    $crate::table::table!(@default $cell $(= $default)?),
                )?;)+
                Ok((0..batch.num_rows()).map(|_| Self { $($column: $crate::table::next(&mut $column)),+ }).collect())
            }

            $(fn complete(rows: &mut [Self], foreign: &mut $crate::Foreign) {
                $complete(rows, foreign)
            })?
        }
    };
    (@spec $column:ident: $cell:ty $(= $default:expr)?, $text:literal $(in $unit:literal)?) => {
        $crate::Column {
            name: stringify!($column),
            data_type: <$cell as $crate::cell::Cell>::data_type(),
            nullable: <$cell as $crate::cell::Cell>::NULLABLE,
            required: $crate::table::table!(@required $($default)?),
            about: $text,
            unit: concat!($($unit)?),
        }
    };
    (@oldest $version:literal $oldest:literal) => { $oldest };
    (@oldest $version:literal) => { $version };
    (@required $default:expr) => { false };
    (@required) => { true };
    (@default $cell:ty = $default:expr) => { $default };
    (@default $cell:ty) => { <$cell as $crate::cell::Cell>::blank() };
}
pub(crate) use table;

/// The next cell of a decoded column.
pub(crate) fn next<C>(column: &mut std::vec::IntoIter<C>) -> C {
    column.next().expect("a decoded column is as long as its batch")
}

/// A batch of encoded columns.
pub(crate) fn batch<T: Table>(columns: Vec<arrow::array::ArrayRef>, rows: usize) -> Result<RecordBatch, DataError> {
    debug_assert!(columns.iter().all(|c| c.len() == rows));
    RecordBatch::try_new(T::schema(), columns)
        .map_err(|e| DataError::Write { file: T::NAME.into(), detail: e.to_string() })
}
