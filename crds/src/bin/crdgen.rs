//! gen
fn main() {
    let g = || schemars::generate::SchemaSettings::draft2020_12().with(|s| s.inline_subschemas = true).into_generator();
    for s in [
        g().into_root_schema_for::<edgereel_crds::CameraStreamSpec>(),
        g().into_root_schema_for::<edgereel_crds::FrameSinkSpec>(),
        g().into_root_schema_for::<edgereel_crds::KafkaConnectionSpec>(),
    ] {
        println!("{}", serde_json::to_string_pretty(&s).unwrap());
    }
}
