//! Matrices that fit, that do not, and that change while they are used.

use super::*;

/// A file of version 1.0 with this header and so many bytes of values, all zero.
fn file(header: &str, bytes: usize) -> Vec<u8> {
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((header.len() as u16).to_le_bytes());
    file.extend(header.as_bytes());
    file.resize(file.len() + bytes, 0);
    file
}

fn open(header: &str, bytes: usize) -> Result<Matrix, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.npy");
    std::fs::write(&path, file(header, bytes)).unwrap();
    let folder = format!("{}/", folder.path().display());
    Matrix::open(&path).map_err(|error| error.to_string().replace(&folder, ""))
}

fn check_error(header: &str, bytes: usize, expected: &str) {
    let error = open(header, bytes).unwrap_err();
    assert!(error.starts_with(expected), "{error}");
}

#[test]
fn what_does_not_fit_is_told() {
    let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }";
    assert!(open(header, 48).is_ok());
    let start = 10 + header.len();
    check_error(
        header,
        47,
        &format!(
            "m.npy should have {} bytes, 3 rows of 4 float32 and a header, but has {}: it was cut",
            start + 48,
            start + 47
        ),
    );
    check_error(header, 49, "m.npy should have");
    check_error(
        &header.replace("<f4", "<i4"),
        48,
        "m.npy holds values of type <i4; expected",
    );
    check_error(
        &header.replace("<f4", ">f4"),
        48,
        "m.npy holds values of type >f4; expected",
    );
    check_error(
        &header.replace("False", "True"),
        48,
        "m.npy is in Fortran order",
    );
    check_error(
        &header.replace("(3, 4)", "(12,)"),
        48,
        "m.npy has the shape [12]",
    );
    check_error(
        &header.replace("(3, 4)", "(0, 4)"),
        0,
        "m.npy has the shape [0, 4]",
    );
    let huge = "(18446744073709551615, 18446744073709551615)";
    check_error(
        &header.replace("(3, 4)", huge),
        48,
        "m.npy has the shape [18446744073709551615",
    );
    check_error(
        "{'descr'",
        48,
        "m.npy has a header that cannot be read: \"{'descr'\"",
    );
}

#[test]
fn what_is_no_matrix_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.npy");
    let open = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        Matrix::open(&path).unwrap_err()
    };
    assert!(matches!(open(b""), NpyError::NotNpy(_)));
    assert!(matches!(
        open(b"\x93NUMPY\x01\x00\xff\xff{"),
        NpyError::NotNpy(_)
    ));
    assert!(matches!(open(b"a.jpg#0\tA dog ."), NpyError::NotNpy(_)));
    let future = open(b"\x93NUMPY\x09\x00aaaa");
    assert!(matches!(future, NpyError::Version { major: 9, .. }));
    let endless = open(b"\x93NUMPY\x02\x00\xff\xff\xff\xffaaaa");
    assert!(matches!(endless, NpyError::Header { .. }));
}

#[test]
fn only_rows_that_are_there_are_read() {
    let matrix = open(
        "{'descr': '<f8', 'fortran_order': False, 'shape': (2, 1), }",
        16,
    )
    .unwrap();
    let mut row = [1.0];
    assert!(matches!(
        matrix.read(&[2], &mut row),
        Err(NpyError::Row { row: 2, .. })
    ));
    assert!(matches!(
        matrix.read(&[0, 1], &mut row),
        Err(NpyError::Room { .. })
    ));
    matrix.read(&[1], &mut row).unwrap();
    assert_eq!(row, [0.0]);
}

#[test]
fn a_file_that_becomes_shorter_is_an_error_and_not_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.npy");
    let rows = 5000;
    std::fs::write(&path, file(&header(rows), rows * 4)).unwrap();
    let matrix = Matrix::open(&path).unwrap();
    let mut row = [1.0];
    matrix.read(&[rows - 1], &mut row).unwrap();
    let cut = File::options().write(true).open(&path).unwrap();
    cut.set_len(200).unwrap();
    for read in [
        matrix.read(&[rows - 1], &mut row).unwrap_err(),
        matrix.digest().unwrap_err(),
    ] {
        let told = read.to_string();
        assert!(told.contains("has become shorter"), "{told}");
    }
}

fn header(rows: usize) -> String {
    format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, 1), }}")
}

#[test]
fn a_matrix_is_known_by_its_values_wherever_it_lies() {
    let folder = tempfile::tempdir().unwrap();
    let digest = |bytes: &[u8]| {
        let path = folder.path().join("m.npy");
        std::fs::write(&path, bytes).unwrap();
        Matrix::open(&path).unwrap().digest().unwrap()
    };
    let small = file(&header(1000), 4000);
    let mut changed = small.clone();
    changed[3000] = 1;
    assert_eq!(digest(&small), digest(&small));
    assert_ne!(digest(&small), digest(&changed));
    // Larger than what is read whole: the last value and one in a thousand count.
    let rows = DIGESTED_WHOLE / 4 + 1;
    let large = file(&header(rows), rows * 4);
    let known = digest(&large);
    let mut changed = large.clone();
    *changed.last_mut().unwrap() = 1;
    assert_ne!(digest(&changed), known);
    let mut shifted = large;
    for value in shifted[200..].iter_mut().step_by(4) {
        *value = 1;
    }
    assert_ne!(digest(&shifted), known);
}
