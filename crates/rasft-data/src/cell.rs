//! How one Rust type stands in one Arrow column.
//!
//! An [`Item`] is a type that is never null; every item and every `Option` of one is a [`Cell`]. Decoding expects the
//! column in its canonical type ([`crate::widen`] brings it there).

use arrow::array::{
    Array, ArrayRef, BooleanArray, Float32Array, Float64Array, ListArray, StringArray, StructArray, UInt32Array,
    UInt64Array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, Fields};
use rasft_types::{
    CodeSpec, Domain, Fallback, FinishReason, Method, Outcome, Rejection, Route, RouteAction, Scored, TrajectorySource,
    UnknownWord,
};
use std::sync::Arc;

/// A cell that breaks its column's contract.
#[derive(Debug)]
pub(crate) struct Fault {
    /// Row within the batch; none when the whole column is wrong.
    pub row: Option<usize>,
    pub expected: String,
    pub found: String,
    pub hint: &'static str,
}

/// A value that is never null.
pub(crate) trait Item: Sized {
    type Array: Array + 'static;
    fn data_type() -> DataType;
    /// Stands in where the column was not asked for.
    fn blank() -> Self;
    fn build<'a>(cells: impl Iterator<Item = Option<&'a Self>>) -> Self::Array
    where
        Self: 'a;
    fn get(array: &Self::Array, row: usize) -> Result<Self, Fault>;
}

/// A value of a column, perhaps null.
pub(crate) trait Cell: Sized {
    const NULLABLE: bool;
    fn data_type() -> DataType;
    fn blank() -> Self;
    fn encode<'a>(cells: impl Iterator<Item = &'a Self>) -> ArrayRef
    where
        Self: 'a;
    fn decode(array: &dyn Array) -> Result<Vec<Self>, Fault>;
}

impl<T: Item> Cell for T {
    const NULLABLE: bool = false;

    fn data_type() -> DataType {
        T::data_type()
    }

    fn blank() -> Self {
        T::blank()
    }

    fn encode<'a>(cells: impl Iterator<Item = &'a Self>) -> ArrayRef
    where
        Self: 'a,
    {
        Arc::new(T::build(cells.map(Some)))
    }

    fn decode(array: &dyn Array) -> Result<Vec<Self>, Fault> {
        let array = downcast::<T>(array)?;
        (0..array.len()).map(|row| at(row, T::get(array, row))).collect()
    }
}

impl<T: Item> Cell for Option<T> {
    const NULLABLE: bool = true;

    fn data_type() -> DataType {
        T::data_type()
    }

    fn blank() -> Self {
        None
    }

    fn encode<'a>(cells: impl Iterator<Item = &'a Self>) -> ArrayRef
    where
        Self: 'a,
    {
        Arc::new(T::build(cells.map(Option::as_ref)))
    }

    fn decode(array: &dyn Array) -> Result<Vec<Self>, Fault> {
        let array = downcast::<T>(array)?;
        let cell = |row| if array.is_null(row) { Ok(None) } else { at(row, T::get(array, row)).map(Some) };
        (0..array.len()).map(cell).collect()
    }
}

fn downcast<T: Item>(array: &dyn Array) -> Result<&T::Array, Fault> {
    array.as_any().downcast_ref::<T::Array>().ok_or_else(|| Fault {
        row: None,
        expected: T::data_type().to_string(),
        found: array.data_type().to_string(),
        hint: "cast the column to the expected type",
    })
}

/// Faults below know their cell only; the row is known here.
fn at<V>(row: usize, result: Result<V, Fault>) -> Result<V, Fault> {
    result.map_err(|fault| Fault { row: Some(row), ..fault })
}

macro_rules! plain_items {
    ($($rust:ty => $array:ty, $data_type:expr, $blank:expr;)+) => {$(
        impl Item for $rust {
            type Array = $array;

            fn data_type() -> DataType {
                $data_type
            }

            fn blank() -> Self {
                $blank
            }

            fn build<'a>(cells: impl Iterator<Item = Option<&'a Self>>) -> Self::Array
            where
                Self: 'a,
            {
                cells.map(Option::<&Self>::cloned).collect()
            }

            fn get(array: &Self::Array, row: usize) -> Result<Self, Fault> {
                Ok(array.value(row).to_owned())
            }
        }
    )+};
}

plain_items! {
    bool => BooleanArray, DataType::Boolean, false;
    u32 => UInt32Array, DataType::UInt32, 0;
    u64 => UInt64Array, DataType::UInt64, 0;
    f32 => Float32Array, DataType::Float32, f32::NAN;
    f64 => Float64Array, DataType::Float64, f64::NAN;
}

impl Item for String {
    type Array = StringArray;

    fn data_type() -> DataType {
        DataType::Utf8
    }

    fn blank() -> Self {
        Self::new()
    }

    fn build<'a>(cells: impl Iterator<Item = Option<&'a Self>>) -> Self::Array {
        cells.map(|cell| cell.map(String::as_str)).collect()
    }

    fn get(array: &Self::Array, row: usize) -> Result<Self, Fault> {
        Ok(array.value(row).to_owned())
    }
}

macro_rules! word_items {
    ($($word:ty),+ $(,)?) => {$(
        impl Item for $word {
            type Array = StringArray;

            fn data_type() -> DataType {
                DataType::Utf8
            }

            fn blank() -> Self {
                Self::ALL[0]
            }

            fn build<'a>(cells: impl Iterator<Item = Option<&'a Self>>) -> Self::Array {
                cells.map(|cell| cell.map(|word| word.as_str())).collect()
            }

            fn get(array: &Self::Array, row: usize) -> Result<Self, Fault> {
                array.value(row).parse().map_err(|UnknownWord { found, known }| Fault {
                    row: None,
                    expected: known.join("|"),
                    found: format!("{found:?}"),
                    hint: "use one of the listed words",
                })
            }
        }
    )+};
}

word_items!(Domain, Route, RouteAction, Scored, FinishReason, Outcome, Method, Rejection, Fallback, TrajectorySource);

/// The field of a list's elements, named as the Parquet specification names it.
fn element<E: Item>() -> Arc<Field> {
    Arc::new(Field::new("element", E::data_type(), false))
}

impl<E: Item> Item for Vec<E> {
    type Array = ListArray;

    fn data_type() -> DataType {
        DataType::List(element::<E>())
    }

    fn blank() -> Self {
        Self::new()
    }

    fn build<'a>(cells: impl Iterator<Item = Option<&'a Self>>) -> Self::Array
    where
        Self: 'a,
    {
        let cells: Vec<Option<&Self>> = cells.collect();
        let offsets = OffsetBuffer::from_lengths(cells.iter().map(|cell| cell.map_or(0, Vec::len)));
        let values = E::build(cells.iter().flatten().flat_map(|list| list.iter().map(Some)));
        ListArray::new(element::<E>(), offsets, Arc::new(values), nulls(&cells))
    }

    fn get(array: &Self::Array, row: usize) -> Result<Self, Fault> {
        let values = array.value(row);
        let values = downcast::<E>(&values)?;
        (0..values.len()).map(|i| E::get(values, i)).collect()
    }
}

/// Validity of the cells; none when all are there, so that equal columns are equal bytes.
fn nulls<T>(cells: &[Option<T>]) -> Option<NullBuffer> {
    cells.iter().any(Option::is_none).then(|| cells.iter().map(Option::is_some).collect())
}

fn code_fields() -> Fields {
    Fields::from(vec![
        Field::new("entry_point", DataType::Utf8, true),
        Field::new("setup", DataType::Utf8, false),
        Field::new("tests", <Vec<String> as Item>::data_type(), false),
        Field::new("prompt_is_prefix", DataType::Boolean, false),
    ])
}

impl Item for CodeSpec {
    type Array = StructArray;

    fn data_type() -> DataType {
        DataType::Struct(code_fields())
    }

    fn blank() -> Self {
        Self::default()
    }

    fn build<'a>(cells: impl Iterator<Item = Option<&'a Self>>) -> Self::Array {
        let cells: Vec<Option<&Self>> = cells.collect();
        // Fields under a null struct need some value; readers never see it.
        let filler = Self::default();
        let rows = || cells.iter().map(|cell| cell.unwrap_or(&filler));
        let columns: Vec<ArrayRef> = vec![
            Cell::encode(rows().map(|c| &c.entry_point)),
            Cell::encode(rows().map(|c| &c.setup)),
            Cell::encode(rows().map(|c| &c.tests)),
            Cell::encode(rows().map(|c| &c.prompt_is_prefix)),
        ];
        StructArray::new(code_fields(), columns, nulls(&cells))
    }

    fn get(array: &Self::Array, row: usize) -> Result<Self, Fault> {
        let column = |i: usize| array.column(i).as_ref();
        let entry_point = downcast::<String>(column(0))?;
        Ok(Self {
            entry_point: entry_point.is_valid(row).then(|| entry_point.value(row).to_owned()),
            setup: Item::get(downcast::<String>(column(1))?, row)?,
            tests: Item::get(downcast::<Vec<String>>(column(2))?, row)?,
            prompt_is_prefix: Item::get(downcast::<bool>(column(3))?, row)?,
        })
    }
}
