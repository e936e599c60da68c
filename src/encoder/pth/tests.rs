use std::path::PathBuf;

use super::*;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden/vgg16")
        .join(name)
}

fn read_bytes(bytes: &[u8]) -> Result<Weights, PthError> {
    let scratch = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(scratch.path(), bytes).unwrap();
    read(scratch.path())
}

/// A file of the older format with one storage, `0`, of three floats.
fn legacy(object: &[u8]) -> Vec<u8> {
    let mut file =
        b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}.".to_vec();
    file.extend_from_slice(object);
    file.extend_from_slice(b"\x80\x02]X\x01\0\0\x000a.");
    file.extend_from_slice(&3_u64.to_le_bytes());
    for value in [1.0_f32, 2.0, 3.0] {
        file.extend_from_slice(&value.to_le_bytes());
    }
    file
}

/// A pickle of `{"a": tensor}` over that storage.
fn object(count: &[u8], offset: &[u8], size: &[u8], stride: &[u8]) -> Vec<u8> {
    [
        &b"\x80\x02}X\x01\0\0\0actorch._utils\n_rebuild_tensor_v2\n((U\x07storagectorch\nFloatStorage\nU\x010U\x03cpu"[..],
        count,
        b"NtQ",
        offset,
        size,
        stride,
        b"\x89ccollections\nOrderedDict\n)RtRs.",
    ]
    .concat()
}

fn refused(bytes: &[u8]) -> String {
    let message = read_bytes(bytes).unwrap_err().to_string();
    assert!(!message.contains('\n'), "{message}");
    message
}

#[test]
fn both_formats_give_the_tensors_of_the_safetensors_file() {
    let expected = Tensor::read_safetensors(golden("narrow.safetensors")).unwrap();
    for name in ["narrow.pth", "narrow-legacy.pth"] {
        let found = read(&golden(name)).unwrap();
        assert_eq!(found.len(), expected.len(), "{name}");
        for (key, tensor) in &expected {
            assert_eq!(found[key].size(), tensor.size(), "{name}: {key}");
            assert_eq!(&found[key], tensor, "{name}: {key}");
        }
    }
}

#[test]
fn kinds_strides_and_offsets_are_honoured_in_a_nested_dict() {
    for name in ["kinds.pth", "kinds-legacy.pth"] {
        let found = read(&golden(name)).unwrap();
        let names: Vec<_> = found.keys().map(String::as_str).collect();
        let expected = [
            (
                "bfloat16",
                Kind::BFloat16,
                &[2, 3][..],
                &[0., 1., 2., 3., 4., 5.][..],
            ),
            ("bool", Kind::Uint8, &[2, 3], &[0., 0., 0., 1., 1., 1.]),
            ("empty", Kind::Float, &[0, 4], &[]),
            ("half", Kind::Half, &[2, 3], &[0., 0.5, 1., 1.5, 2., 2.5]),
            ("long", Kind::Int64, &[2, 3], &[-3., -2., -1., 0., 1., 2.]),
            (
                "parameter",
                Kind::Double,
                &[2, 3],
                &[0., 1., 2., 3., 4., 5.],
            ),
            ("part", Kind::Float, &[4], &[3., 4., 5., 6.]),
            ("scalar", Kind::Int16, &[], &[7.]),
            (
                "transposed",
                Kind::Float,
                &[3, 2],
                &[0., 3., 1., 4., 2., 5.],
            ),
        ];
        assert_eq!(names, expected.map(|(name, ..)| name));
        for (key, kind, size, values) in expected {
            assert_eq!(found[key].kind(), kind, "{name}: {key}");
            assert_eq!(found[key].size(), size, "{name}: {key}");
            assert!(found[key].is_contiguous(), "{name}: {key}");
            let flat = found[key].to_kind(Kind::Float).reshape([-1]);
            assert_eq!(Vec::<f32>::try_from(flat).unwrap(), values, "{name}: {key}");
        }
    }
}

#[test]
fn a_truncated_file_is_an_error() {
    for name in ["narrow.pth", "narrow-legacy.pth"] {
        let bytes = std::fs::read(golden(name)).unwrap();
        for length in (0..bytes.len()).step_by(97).chain([bytes.len() - 1]) {
            refused(&bytes[..length]);
        }
    }
}

#[test]
fn a_damaged_file_is_an_error_or_other_tensors_and_never_a_panic() {
    for name in ["kinds.pth", "kinds-legacy.pth"] {
        let bytes = std::fs::read(golden(name)).unwrap();
        for at in 0..bytes.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut damaged = bytes.clone();
                damaged[at] ^= flip;
                if let Err(error) = read_bytes(&damaged) {
                    let message = error.to_string();
                    assert!(!message.contains('\n'), "{message}");
                }
            }
        }
    }
}

#[test]
fn what_a_file_names_is_never_run() {
    let scratch = tempfile::tempdir().unwrap();
    let made = scratch.path().join("made");
    let command = format!("touch {}", made.display());
    let mut call = b"cos\nsystem\nU".to_vec();
    call.push(u8::try_from(command.len()).unwrap());
    call.extend_from_slice(command.as_bytes());
    call.extend_from_slice(b"\x85R");
    let message = refused(&legacy(&[b"\x80\x02", &call[..], b"."].concat()));
    assert_eq!(
        message,
        "it holds an object of os.system, not a dict of tensors (save model.state_dict() instead)"
    );

    let fine = object(b"K\x03", b"K\x00", b"K\x03\x85", b"K\x01\x85");
    let beside = [&b"\x80\x02"[..], &call, b"0", &fine[2..]].concat();
    assert_eq!(read_bytes(&legacy(&beside)).unwrap().len(), 1);
    assert!(!made.exists());
}

#[test]
fn dicts_of_python_2_are_read() {
    let fine = object(b"K\x03", b"K\x01", b"K\x02\x85", b"\x8a\x01\x01\x85");
    let tensor = &fine[9..fine.len() - 2];
    let old = [
        &b"\x80\x02ccollections\nOrderedDict\n]](U\x01a"[..],
        tensor,
        b"ea\x85R}b.",
    ]
    .concat();
    let found = read_bytes(&legacy(&old)).unwrap();
    assert_eq!(Vec::<f32>::try_from(&found["a"]).unwrap(), [2.0, 3.0]);
}

#[test]
fn tensors_outside_their_storage_are_refused() {
    let huge: &[u8] = b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f";
    let pair = |one: &[u8]| [one, one, b"\x86"].concat();
    let three: &[u8] = b"K\x03";
    for (count, offset, size, stride, expected) in [
        (
            three,
            &b"K\x01"[..],
            &b"K\x03\x85"[..],
            &b"K\x01\x85"[..],
            "tensor a: it reaches beyond its storage",
        ),
        (
            three,
            b"K\x00",
            b"K\x02\x85",
            b"K\x03\x85",
            "beyond its storage",
        ),
        (
            three,
            b"K\x00",
            b"K\x04\x85",
            b"K\x00\x85",
            "beyond its storage",
        ),
        (
            three,
            b"K\x00",
            &pair(huge)[..],
            b"K\x00K\x00\x86",
            "beyond its storage",
        ),
        (
            three,
            b"K\x00",
            b"K\x02\x85",
            &[huge, b"\x85"].concat()[..],
            "beyond its storage",
        ),
        (
            three,
            b"K\x00",
            b"J\xff\xff\xff\xff\x85",
            b"K\x01\x85",
            "negative",
        ),
        (
            three,
            b"K\x00",
            b"K\x02\x85",
            b"J\xff\xff\xff\xff\x85",
            "negative",
        ),
        (three, b"K\x00", b"K\x02\x85", b")", "do not fit together"),
        (
            three,
            b"J\xff\xff\xff\xff",
            b"K\x02\x85",
            b"K\x01\x85",
            "a count",
        ),
        (huge, b"K\x00", b"K\x02\x85", b"K\x01\x85", "too early"),
        (
            b"K\x04",
            b"K\x00",
            b"K\x02\x85",
            b"K\x01\x85",
            "storage 0: it has another size",
        ),
    ] {
        let message = refused(&legacy(&object(count, offset, size, stride)));
        assert!(message.contains(expected), "{message}, not {expected}");
    }
}

#[test]
fn what_is_no_state_dict_is_named() {
    for (object, expected) in [
        (&b"\x80\x02]."[..], "it holds a list, not a dict of tensors"),
        (b"\x80\x02}.", "it holds an empty dict"),
        (b"\x80\x02}U\x01aK\x01s.", "it holds a dict without tensors"),
        (
            b"\x80\x02cmy\nNet\n)\x81}b.",
            "it holds an object of my.Net",
        ),
        (b"\x80\x02.", "takes more values than it gives"),
        (b"\x80\x02h\x07.", "recalls what it never noted"),
        (b"\x80\x02i", "instruction 0x69"),
    ] {
        let message = refused(&legacy(object));
        assert!(message.contains(expected), "{message}, not {expected}");
    }
    assert_eq!(
        refused(b"\x80\x02K\x01."),
        "it is a pickle, but none that torch.save wrote"
    );
    assert!(refused(b"PK\x03\x04 and so on").starts_with("its zip archive cannot be read"));
}
