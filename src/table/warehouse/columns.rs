//! Turns the columns of a Delta table into how they differ from ours.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};

use super::WarehouseError;
use crate::table::schema;

/// How the table's columns differ from ours.
pub struct TargetColumns {
    /// Ours, each allowing nulls where the table's does.
    pub ours: SchemaRef,
    /// Whether the table lacks columns of ours.
    pub some_missing: bool,
    /// Whether the table has columns that are not ours, whose values are to be kept.
    pub some_added: bool,
}

impl TargetColumns {
    /// Those of a table of ours.
    pub fn ours() -> Self {
        Self {
            ours: schema(),
            some_missing: false,
            some_added: false,
        }
    }
}

/// Compares `found`, the columns of the table at `url`, with ours.
pub fn compare(found: &Schema, url: &str) -> Result<TargetColumns, WarehouseError> {
    let mut some_missing = false;
    let mut fields: Vec<FieldRef> = Vec::new();
    for ours in schema().fields() {
        let Ok(theirs) = found.field_with_name(ours.name()) else {
            some_missing = true;
            fields.push(Arc::new(ours.as_ref().clone().with_nullable(true)));
            continue;
        };
        if !is_alike(ours.data_type(), theirs.data_type()) {
            return Err(WarehouseError::ColumnType {
                url: url.to_owned(),
                column: ours.name().clone(),
                expected: ours.data_type().to_string(),
                found: theirs.data_type().to_string(),
            });
        }
        let nullable = theirs.is_nullable();
        fields.push(Arc::new(ours.as_ref().clone().with_nullable(nullable)));
    }
    let ours = schema();
    let mut added = found
        .fields()
        .iter()
        .filter(|field| ours.field_with_name(field.name()).is_err())
        .peekable();
    let some_added = added.peek().is_some();
    if let Some(required) = added.find(|field| !field.is_nullable()) {
        return Err(WarehouseError::RequiredColumn {
            url: url.to_owned(),
            column: required.name().clone(),
        });
    }
    Ok(TargetColumns {
        ours: Arc::new(Schema::new(fields)),
        some_missing,
        some_added,
    })
}

/// Whether two types hold the same values; what may be null in them is not looked at.
fn is_alike(ours: &DataType, theirs: &DataType) -> bool {
    match (ours, theirs) {
        (DataType::List(ours), DataType::List(theirs)) => {
            is_alike(ours.data_type(), theirs.data_type())
        }
        (DataType::Struct(ours), DataType::Struct(theirs)) => {
            let pairs = ours.iter().zip(theirs);
            ours.len() == theirs.len()
                && pairs.into_iter().all(|(ours, theirs)| {
                    ours.name() == theirs.name() && is_alike(ours.data_type(), theirs.data_type())
                })
        }
        _ => ours == theirs,
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::Field;

    use super::*;

    #[test]
    fn columns_are_compared_by_name_and_type() {
        let same = compare(&schema(), "here").unwrap();
        assert_eq!(same.ours, Arc::new(Schema::new(schema().fields().clone())));
        assert!(!same.some_missing && !same.some_added);

        let mut fields: Vec<_> = schema().fields().iter().rev().cloned().collect();
        fields.retain(|field| field.name() != "score");
        fields.push(Arc::new(Field::new("reviewed", DataType::Boolean, true)));
        let other = compare(&Schema::new(fields.clone()), "here").unwrap();
        assert!(other.some_missing && other.some_added);
        assert!(other.ours.field_with_name("score").unwrap().is_nullable());

        fields.push(Arc::new(Field::new("by", DataType::Utf8, false)));
        let error = compare(&Schema::new(fields.clone()), "here").err().unwrap();
        assert!(error.to_string().contains(r#"column "by""#), "{error}");

        fields.retain(|field| field.name() != "by");
        fields.push(Arc::new(Field::new("score", DataType::Float64, true)));
        let error = compare(&Schema::new(fields), "here").err().unwrap();
        let expected = r#"column "score" of the Delta table here is Float64, expected Float32"#;
        assert_eq!(error.to_string(), expected);
    }
}
