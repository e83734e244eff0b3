//! The scenarios, by what they are about. Their names are the promises that they keep.

mod admission;
mod claims;
mod connections;
mod deletion;
mod edits;
mod faults;
mod hands;
mod idle;
mod lab;
mod leftovers;
mod looking_back;
mod malformed;
mod nodes;
mod operators;
mod others;
mod overrides;
mod pinning;
mod policies;
mod pool;
mod quiet;
mod rollouts;
mod secured;
mod secured_kafka;
mod sharing;
mod sources;
mod unreachable;
mod versions;

use crate::world::World;

/// A scenario fails by a panic.
pub type Scenario = fn(&World);

/// A list of functions with their names.
macro_rules! named {
    ($($module:ident::$name:ident),* $(,)?) => {
        &[$((stringify!($name), $module::$name as Scenario)),*]
    };
}

/// They leave the operator and the cluster alone.
pub const SIDE_BY_SIDE: &[(&str, Scenario)] = named![
    lab::the_lab_is_applied_and_every_frame_lands_on_the_node,
    lab::the_api_server_takes_every_example_as_it_is,
    edits::every_edit_of_a_camera_keeps_its_frames,
    edits::a_sink_scales_to_three_and_back_and_stores_every_frame_once,
    edits::what_is_no_configuration_restarts_no_pod,
    edits::what_is_no_longer_declared_goes_from_the_children,
    pool::cameras_of_a_shared_pod_come_change_fail_and_go_alone,
    pool::a_camera_moves_into_a_shared_pod_and_out_again,
    pinning::a_capture_pod_runs_on_the_node_that_has_the_label,
    pinning::without_a_matching_node_the_status_says_so_until_one_is_labelled,
    secured::a_claimed_volume_works_where_pod_security_is_restricted,
    secured::a_local_volume_needs_no_privileged_namespace_and_no_chown,
    secured::a_host_path_outside_the_allowed_ones_is_refused,
    sources::a_camera_of_rtsp_is_captured_over_restarts_of_its_server,
    sources::a_camera_outside_of_its_hours_rests_and_says_until_when,
    sources::a_sink_keeps_what_its_retention_allows_and_the_status_says_what_that_is,
    deletion::deleting_resources_removes_their_children_and_no_frame,
    faults::a_killed_worker_comes_back_and_no_frame_is_missing,
    faults::a_bad_image_stops_at_the_first_pod_and_one_edit_mends_it,
    faults::a_missing_secret_is_named_until_it_is_created,
    faults::what_kubernetes_says_only_in_events_is_in_the_status,
    faults::a_full_volume_pauses_the_sink_and_nothing_is_lost,
    hands::a_child_deleted_by_hand_is_put_back,
    hands::a_child_edited_by_hand_is_put_back,
    leftovers::a_pod_that_ended_holds_no_camera_up,
    rollouts::a_paused_camera_is_left_alone_until_it_is_paused_no_longer,
    leftovers::somebody_elses_object_is_not_taken_over,
    unreachable::a_camera_that_the_operator_cannot_reach_is_ready_and_says_so,
    connections::a_connection_is_ready_when_a_worker_has_reached_it,
    sharing::a_connection_is_used_where_its_own_namespace_allows_it_and_no_longer,
    secured_kafka::a_right_that_is_missing_is_named_until_it_is_granted,
    idle::a_secret_that_changes_again_and_again_starts_the_pods_anew_once,
    versions::the_definitions_refuse_a_name_that_no_worker_takes,
    others::a_secret_is_judged_by_its_keys_and_by_what_nobody_sees_in_them,
    others::a_login_in_a_url_does_not_get_in,
    others::of_two_namespaces_that_write_one_directory_the_older_goes_on_and_both_say_so,
    others::a_label_that_every_node_has_pins_nothing,
    claims::claims_grow_under_their_pods_and_what_cannot_grow_says_so,
    overrides::a_camera_captures_by_a_host_alias_behind_an_init_container_and_beside_a_sidecar,
];

/// They kill, restart or remove what all others need.
pub const ONE_BY_ONE: &[(&str, Scenario)] = named![
    quiet::a_settled_operator_writes_nothing_but_changed_figures,
    quiet::a_repeated_reconcile_writes_nothing,
    admission::kubectl_refuses_at_once_what_the_policies_see,
    malformed::a_resource_written_past_validation_harms_no_other,
    versions::a_newer_definition_and_the_way_back_disturb_no_stream,
    versions::an_older_definition_is_said_and_a_status_that_it_cuts_is_written_once,
    versions::what_the_last_releases_definitions_stored_is_read_today,
    operators::an_operator_killed_while_it_works_ends_in_the_declared_state,
    operators::a_second_operator_takes_over_from_a_killed_leader,
    operators::a_restarted_api_server_is_found_again,
    operators::a_second_installation_leaves_a_namespace_alone_until_the_first_has_gone,
    idle::an_operator_that_nothing_happens_to_lives_on,
    idle::a_namespace_that_is_gone_stalls_no_other,
    policies::enforced_policies_let_pass_what_has_to_and_nothing_else,
    nodes::a_dead_node_is_named_and_what_may_move_moves,
    rollouts::a_bad_image_darkens_one_camera_at_most_and_a_good_one_reaches_all,
    rollouts::a_roll_out_takes_seconds_of_each_camera_and_waits_for_its_window,
];

/// The first judges what happened in all of them; an uninstall takes the operator's rights while it still ends.
pub const LAST: &[(&str, Scenario)] = named![
    looking_back::nothing_was_forbidden_to_the_operator,
    deletion::an_uninstall_leaves_everything_and_a_reinstall_restarts_no_pod,
];
