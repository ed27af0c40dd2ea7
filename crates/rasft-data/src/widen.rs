//! Brings a column some other tool wrote to its canonical Arrow type, when no value is lost by it.
//!
//! Accepted: every string and list layout, any integer for any integer in range, integers and either float width for
//! floats. Refused with the first offending row: nulls where none may be, numbers out of range, text that is not UTF-8.

use crate::cell::Fault;
use arrow::array::{Array, ArrayRef, AsArray, ListArray, StructArray, new_null_array};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::{CastOptions, cast, cast_with_options};
use arrow::datatypes::{DataType, Field, Fields, Float64Type};
use std::sync::Arc;

/// `array` as `want`. Rows that are null in `parent` may be null here.
pub(crate) fn widen(array: &ArrayRef, want: &Field, parent: Option<&NullBuffer>) -> Result<ArrayRef, Fault> {
    if !want.is_nullable() {
        refuse_nulls(array, want, parent)?;
    }
    match (array.data_type(), want.data_type()) {
        (DataType::Null, _) => Ok(new_null_array(want.data_type(), array.len())),
        (DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..), DataType::List(element)) => {
            widen_list(array, element)
        }
        (DataType::Struct(_), DataType::Struct(fields)) => widen_struct(array.as_struct(), fields),
        (from, to) if from == to => Ok(array.clone()),
        (DataType::Dictionary(_, value), to) if scalar_widens(value, to) => {
            let flat = cast(array, value).map_err(|e| wrong_type(array, to, &e.to_string()))?;
            widen_scalar(&flat, to)
        }
        (from, to) if scalar_widens(from, to) => widen_scalar(array, to),
        (_, to) => Err(wrong_type(array, to, "")),
    }
}

fn refuse_nulls(array: &ArrayRef, want: &Field, parent: Option<&NullBuffer>) -> Result<(), Fault> {
    // Logical nulls: a dictionary may hide nulls among its values.
    let Some(nulls) = array.logical_nulls().filter(|n| n.null_count() > 0) else { return Ok(()) };
    let present = |row: usize| parent.is_none_or(|p| p.is_valid(row));
    match (0..array.len()).find(|&row| nulls.is_null(row) && present(row)) {
        None => Ok(()),
        Some(row) => Err(Fault {
            row: Some(row),
            expected: format!("a value ({})", describe(want.data_type())),
            found: "null".to_owned(),
            hint: "fill in the value or leave the row out",
        }),
    }
}

fn scalar_widens(from: &DataType, to: &DataType) -> bool {
    use DataType as D;
    match to {
        D::Utf8 => matches!(from, D::Utf8 | D::LargeUtf8 | D::Utf8View | D::Binary | D::LargeBinary | D::BinaryView),
        D::UInt32 | D::UInt64 => from.is_integer(),
        D::Float32 | D::Float64 => from.is_integer() || from.is_floating(),
        D::Boolean => matches!(from, D::Boolean),
        _ => false,
    }
}

fn widen_scalar(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, Fault> {
    // A safe cast turns what does not fit into null.
    let options = CastOptions { safe: true, ..Default::default() };
    let result = cast_with_options(array, to, &options).map_err(|e| wrong_type(array, to, &e.to_string()))?;
    let lost = match to {
        DataType::Float32 | DataType::Float64 => lost_number(array, &result),
        _ => (0..array.len()).find(|&row| result.is_null(row) && array.is_valid(row)),
    };
    match lost {
        None => Ok(result),
        Some(row) => Err(Fault {
            row: Some(row),
            expected: describe(to),
            found: shown(array, row),
            hint: "the value does not fit the column's type",
        }),
    }
}

/// First row whose number became infinite or, coming from an integer, another number.
fn lost_number(array: &ArrayRef, result: &ArrayRef) -> Option<usize> {
    let wide = cast(result, &DataType::Float64).ok()?;
    let wide = wide.as_primitive::<Float64Type>();
    if array.data_type().is_integer() {
        let back = cast(result, array.data_type()).ok()?;
        return (0..array.len()).find(|&row| array.is_valid(row) && shown(&back, row) != shown(array, row));
    }
    let source = cast(array, &DataType::Float64).ok()?;
    let source = source.as_primitive::<Float64Type>();
    (0..array.len()).find(|&row| array.is_valid(row) && source.value(row).is_finite() && !wide.value(row).is_finite())
}

fn widen_list(array: &ArrayRef, element: &Arc<Field>) -> Result<ArrayRef, Fault> {
    let list = to_list(array)?;
    let (first, last) = (list.value_offsets()[0] as usize, list.value_offsets()[list.len()] as usize);
    let values = list.values().slice(first, last - first);
    let values = widen(&values, element, None)
        .map_err(|fault| Fault { row: fault.row.map(|i| row_of(&list, first + i)), ..fault })?;
    let offsets = OffsetBuffer::from_lengths(list.offsets().lengths());
    Ok(Arc::new(ListArray::new(element.clone(), offsets, values, list.nulls().cloned())))
}

/// Any list layout as `List`, elements untouched.
fn to_list(array: &ArrayRef) -> Result<ListArray, Fault> {
    let element = match array.data_type() {
        DataType::List(_) => return Ok(array.as_list::<i32>().clone()),
        DataType::LargeList(element) | DataType::FixedSizeList(element, _) => element.clone(),
        other => return Err(wrong_type(array, other, "not a list")),
    };
    let target = DataType::List(element);
    let list = cast(array, &target).map_err(|e| wrong_type(array, &target, &e.to_string()))?;
    Ok(list.as_list::<i32>().clone())
}

/// The row whose list holds the element at `index`.
fn row_of(list: &ListArray, index: usize) -> usize {
    list.value_offsets()[1..].partition_point(|&end| end as usize <= index)
}

fn widen_struct(array: &StructArray, fields: &Fields) -> Result<ArrayRef, Fault> {
    let mut columns = Vec::with_capacity(fields.len());
    for field in fields {
        let within =
            |fault: Fault| Fault { expected: format!("{} in field {:?}", fault.expected, field.name()), ..fault };
        columns.push(match array.column_by_name(field.name()) {
            Some(column) => widen(column, field, array.nulls()).map_err(within)?,
            None if field.is_nullable() => new_null_array(field.data_type(), array.len()),
            None => {
                return Err(Fault {
                    row: None,
                    expected: format!("a field {:?} ({})", field.name(), describe(field.data_type())),
                    found: array.data_type().to_string(),
                    hint: "add the field",
                });
            }
        });
    }
    // Children may be null under a null struct, which the checked constructor refuses for non-null fields.
    let relaxed: Fields = fields.iter().map(|f| f.as_ref().clone().with_nullable(true)).collect();
    Ok(Arc::new(StructArray::new(relaxed, columns, array.nulls().cloned())))
}

fn wrong_type(array: &dyn Array, want: &DataType, detail: &str) -> Fault {
    let found = array.data_type();
    let found = if detail.is_empty() { found.to_string() } else { format!("{found} ({detail})") };
    Fault { row: None, expected: describe(want), found, hint: "cast the column to the expected type" }
}

/// The value for a message, cut short.
fn shown(array: &dyn Array, row: usize) -> String {
    use arrow::util::display::array_value_to_string;
    array_value_to_string(array, row).unwrap_or_else(|e| e.to_string()).chars().take(80).collect()
}

/// A type in the words of the design's tables.
pub(crate) fn describe(data_type: &DataType) -> String {
    use DataType as D;
    match data_type {
        D::Utf8 => "utf8".to_owned(),
        D::Boolean => "bool".to_owned(),
        D::UInt32 => "u32".to_owned(),
        D::UInt64 => "u64".to_owned(),
        D::Float32 => "f32".to_owned(),
        D::Float64 => "f64".to_owned(),
        D::List(element) => format!("list<{}>", describe(element.data_type())),
        D::Struct(fields) => {
            let null = |f: &Field| if f.is_nullable() { "?" } else { "" };
            let all: Vec<_> =
                fields.iter().map(|f| format!("{} {}{}", f.name(), describe(f.data_type()), null(f))).collect();
            format!("struct<{}>", all.join(", "))
        }
        other => other.to_string(),
    }
}
