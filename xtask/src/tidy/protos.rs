//! Everything in `proto/` says what it means.
use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use prost_reflect::prost_types::source_code_info::Location;
use prost_reflect::prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorProto};

use super::Finding;
use crate::workspace::{files, relative};

/// Compiles every file of `proto/` and checks it.
pub(super) fn check(proto: &Path) -> Result<Vec<Finding>> {
    let mut compiler = protox::Compiler::new([proto])?;
    compiler.include_source_info(true).open_files(files(proto, &[".proto"])?).context("compiling proto/")?;
    let set = compiler.file_descriptor_set();
    Ok(set.file.iter().flat_map(|file| check_file(&relative(&proto.join(file.name())), file)).collect())
}

// The numbers of the fields that lead from a file to its parts, as `descriptor.proto` has them.
const SYNTAX: i32 = 12;
const FILE_MESSAGE: i32 = 4;
const FILE_ENUM: i32 = 5;
const FILE_SERVICE: i32 = 6;
const MESSAGE_FIELD: i32 = 2;
const MESSAGE_NESTED: i32 = 3;
const MESSAGE_ENUM: i32 = 4;
const MESSAGE_ONEOF: i32 = 8;
const ENUM_VALUE: i32 = 2;
const SERVICE_METHOD: i32 = 2;

/// The parts of one file that have no comment.
fn check_file(path: &str, file: &FileDescriptorProto) -> Vec<Finding> {
    let locations = file.source_code_info.as_ref().map(|info| info.location.as_slice()).unwrap_or_default();
    let locations = locations.iter().map(|location| (location.path.as_slice(), location)).collect();
    let mut walk = Walk { path, locations, findings: Vec::new() };
    walk.need(&[SYNTAX], "the file");
    for (i, message) in file.message_type.iter().enumerate() {
        walk.message(&[FILE_MESSAGE, index(i)], message);
    }
    for (i, kind) in file.enum_type.iter().enumerate() {
        walk.enumeration(&[FILE_ENUM, index(i)], kind);
    }
    for (i, service) in file.service.iter().enumerate() {
        let path = [FILE_SERVICE, index(i)];
        walk.need(&path, service.name());
        for (i, method) in service.method.iter().enumerate() {
            walk.need(&[&path[..], &[SERVICE_METHOD, index(i)]].concat(), method.name());
        }
    }
    walk.findings
}

fn index(i: usize) -> i32 {
    i32::try_from(i).unwrap_or(i32::MAX)
}

struct Walk<'a> {
    path: &'a str,
    locations: BTreeMap<&'a [i32], &'a Location>,
    findings: Vec<Finding>,
}

impl Walk<'_> {
    fn message(&mut self, at: &[i32], message: &DescriptorProto) {
        if message.options.as_ref().is_some_and(|options| options.map_entry()) {
            return; // made by the compiler for a map field
        }
        self.need(at, message.name());
        for (i, field) in message.field.iter().enumerate() {
            self.need(&[at, &[MESSAGE_FIELD, index(i)]].concat(), field.name());
        }
        for (i, oneof) in message.oneof_decl.iter().enumerate() {
            // `optional` is a oneof that the compiler makes.
            let mut fields = message.field.iter().filter(|field| field.oneof_index == Some(index(i)));
            if fields.any(|field| !field.proto3_optional()) {
                self.need(&[at, &[MESSAGE_ONEOF, index(i)]].concat(), oneof.name());
            }
        }
        for (i, nested) in message.nested_type.iter().enumerate() {
            self.message(&[at, &[MESSAGE_NESTED, index(i)]].concat(), nested);
        }
        for (i, kind) in message.enum_type.iter().enumerate() {
            self.enumeration(&[at, &[MESSAGE_ENUM, index(i)]].concat(), kind);
        }
    }

    fn enumeration(&mut self, at: &[i32], kind: &EnumDescriptorProto) {
        self.need(at, kind.name());
        for (i, value) in kind.value.iter().enumerate() {
            self.need(&[at, &[ENUM_VALUE, index(i)]].concat(), value.name());
        }
    }

    fn need(&mut self, at: &[i32], name: &str) {
        let location = self.locations.get(at);
        let commented = location.is_some_and(|location| {
            !location.leading_comments().trim().is_empty() || !location.trailing_comments().trim().is_empty()
        });
        if !commented {
            let line = location.and_then(|location| location.span.first()).map_or(0, |line| line + 1);
            let line = usize::try_from(line).unwrap_or(0);
            self.findings.push(Finding { path: self.path.to_owned(), line, text: format!("{name} has no comment") });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(source: &str) -> Vec<String> {
        let file = protox::file::File::from_source("a.proto", source).expect("it compiles");
        check_file("a.proto", file.file_descriptor_proto()).into_iter().map(|finding| finding.to_string()).collect()
    }

    #[test]
    fn a_file_that_says_everything_passes() {
        let source = "// F.\nsyntax = \"proto3\";\n// M.\nmessage M {\n  // I.\n  map<string, string> i = 1;\n  // O.\n  \
            oneof o {\n    // A.\n    int32 a = 2;\n  }\n  // B.\n  optional int32 b = 3;\n  int32 c = 4; // C.\n}\n\
            // E.\nenum E {\n  // Z.\n  Z = 0;\n}\n// S.\nservice S {\n  // R.\n  rpc R(M) returns (M);\n}\n";
        assert_eq!(texts(source), Vec::<String>::new());
    }

    #[test]
    fn each_part_without_a_comment_is_told_with_its_line() {
        let source = "syntax = \"proto3\";\n\nmessage M {\n  enum E {\n    Z = 0;\n  }\n  oneof o {\n    int32 a = 2;\n  }\n}\n\
            service S {\n  rpc R(M) returns (M);\n}\n";
        assert_eq!(
            texts(source),
            [
                "a.proto:1: the file has no comment",
                "a.proto:3: M has no comment",
                "a.proto:8: a has no comment",
                "a.proto:7: o has no comment",
                "a.proto:4: E has no comment",
                "a.proto:5: Z has no comment",
                "a.proto:11: S has no comment",
                "a.proto:12: R has no comment",
            ]
        );
    }
}
