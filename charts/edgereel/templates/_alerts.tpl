{{/*
The alerts: what each one asks and what it says. `prometheusrule.yaml` adds what `prometheusRule.alerts` says of it.
docs/kubernetes/alerts.md has a section for each; a test sees to it. Cameras that are suspended have no pod, and so no series
and no alert.
*/}}
{{- define "edgereel.alerts" -}}
{{- $t := .Values.prometheusRule.thresholds }}
{{- $who := "{{ $labels.namespace }}/{{ $labels.name }}" }}
{{- $value := "{{ $value | humanize }}" }}
groups:
  - name: edgereel.cameras
    rules:
      - alert: EdgereelCameraOffline
        # The metric begins at 0, so that a camera that never sent a frame is offline too.
        expr: |-
          time() - max by (kind, namespace, name, replica) (edgereel_camera_last_frame_timestamp_seconds) > {{ $t.offlineSeconds }}
        annotations:
          summary: "Camera {{ $who }} sends no frames"
          description: "No frame for more than {{ $t.offlineSeconds }} seconds. Its CameraOnline condition says why."
      - alert: EdgereelCameraSlow
        # What the camera is to bring is the highest rate that its worker has aimed at: `adaptive` lowers the present one. `and`
        # keeps only workers that still run, so that an edited target counts at once. Without a target the rate is infinite.
        expr: |-
          sum by (kind, namespace, name, replica) (rate(edgereel_camera_frames_acknowledged_total[5m]))
          < clamp_max(
            max by (kind, namespace, name, replica) (
              max_over_time(edgereel_camera_frame_rate_target[1d]) and edgereel_camera_frame_rate_target
            ) * {{ $t.framesPerSecond }} / 30,
            {{ $t.framesPerSecond }}
          )
          and
          time() - max by (kind, namespace, name, replica) (edgereel_camera_last_frame_timestamp_seconds) <= {{ $t.offlineSeconds }}
        annotations:
          summary: "Camera {{ $who }} is slow"
          description: "It brings {{ $value }} frames a second to Kafka."
      - alert: EdgereelFramesDropped
        # Frames above the target are dropped because someone wants it so.
        expr: |-
          sum by (kind, namespace, name, replica, reason) (
            increase(edgereel_camera_frames_dropped_total{reason!="pacing"}[5m])
          ) > 0
        annotations:
          summary: "Camera {{ $who }} loses frames"
          description: 'Dropped in five minutes: {{ $value }}, reason {{ "{{ $labels.reason }}" }}.'
      - alert: EdgereelCameraCapturedTwice
        expr: |-
          max by (kind, namespace, name, replica) (edgereel_camera_captured_twice) > 0
        annotations:
          summary: "Camera {{ $who }} is captured by two processes"
          description: "Each of its frames stands in its topic twice. Its Ready condition says who the other is."
  - name: edgereel.sinks
    rules:
      - alert: EdgereelSinkLagging
        expr: |-
          max by (kind, namespace, name, replica) (edgereel_sink_lag_records) > {{ $t.lagRecords }}
        annotations:
          summary: "Sink {{ $who }} lags behind its topic"
          description: "{{ $value }} records are still to be stored."
      - alert: EdgereelDiskFilling
        expr: |-
          100 * (1 - max by (kind, namespace, name, replica) (
            edgereel_sink_disk_free_bytes / edgereel_sink_disk_size_bytes
          )) > {{ $t.diskUsedPercent }}
        annotations:
          summary: "The disk of sink {{ $who }} is filling up"
          description: "{{ $value }} % are used. When it is full the sink waits, and frames stay in Kafka as long as the topic keeps them."
      - alert: EdgereelArchiveBehind
        # What was closed long ago is not in the object store. 0: nothing waits.
        expr: |-
          time() - max by (kind, namespace, name, replica) (
            edgereel_sink_unarchived_oldest_timestamp_seconds > 0
          ) > {{ $t.archiveSeconds }}
        annotations:
          summary: "The archive of sink {{ $who }} is behind"
          description: "A file that was closed more than {{ $t.archiveSeconds }} seconds ago is not there. The condition ArchiveHealthy says why."
      - alert: EdgereelRecordsLost
        expr: |-
          sum by (kind, namespace, name, replica) (increase(edgereel_sink_records_lost_total[1h])) > 0
        annotations:
          summary: "Sink {{ $who }} has lost records"
          description: "{{ $value }} records were gone from the topic before they were stored."
  - name: edgereel.resources
    rules:
      - alert: EdgereelNotReady
        # Cameras that are offline have an alert of their own.
        expr: |-
          max by (kind, namespace, name, replica) (edgereel_ready) == 0
          unless
          time() - max by (kind, namespace, name, replica) (edgereel_camera_last_frame_timestamp_seconds) > {{ $t.offlineSeconds }}
        annotations:
          summary: '{{ "{{ $labels.kind }}" }} {{ $who }} is not ready'
          description: "Its Ready condition is false; the condition's reason and message say why."
  {{- if .Values.metrics.serviceMonitor.enabled }}
  {{- $operator := printf "job=%q,namespace=%q" (include "edgereel.serviceName" .) .Release.Namespace }}
  {{- /* Their label `namespace` is the resource's. */}}
  {{- $conditions := printf "job=%q" (include "edgereel.serviceName" .) }}
  - name: edgereel.operator
    rules:
      - alert: EdgereelOperatorNotLeading
        expr: |-
          max(edgereel_operator_leader{ {{- $operator -}} }) < 1
          or
          absent(edgereel_operator_leader{ {{- $operator -}} })
        annotations:
          summary: "No Edgereel operator leads"
          description: "Nobody carries out edits and nobody writes status. Cameras and sinks go on."
      - alert: EdgereelOperatorNotWatching
        # Of a namespace that is gone, too: whatever is declared there is not seen.
        expr: |-
          max by (watched) (edgereel_operator_watches_failing{ {{- $operator -}} }) > 0
        annotations:
          summary: "The Edgereel operator does not see all that is declared"
          description: '{{ $value }} watches{{ "{{ with $labels.watched }} of namespace {{ . }}{{ end }}" }} do not get through. Its log says why.'
      - alert: EdgereelNotRunning
        # No worker runs that could say so itself: what the alerts above are made of is not there.
        expr: |-
          max by (kind, namespace, name, reason) (
            edgereel_resource_condition{ {{- $conditions -}} ,type="Ready",reason=~"Unschedulable|ImagePullFailed|NodeLost|PodCrashing|PodFailed|RolloutInProgress|HostPathNotAllowed|ConnectionNotAllowed|ConnectionOutOfReach|InvalidConfiguration|SecretMissing|SecretKeyMissing|ResourceMalformed|NameTaken|RunFailed|OperatorError"}
          ) < 1
        annotations:
          summary: '{{ "{{ $labels.kind }}" }} {{ $who }} does not run'
          description: 'Reason {{ "{{ $labels.reason }}" }}. The message of its Ready condition says more.'
      - alert: EdgereelKafkaNotReached
        expr: |-
          max by (kind, namespace, name, reason) (
            edgereel_resource_condition{ {{- $conditions -}} ,kind="KafkaConnection",type="Ready",reason=~"Kafka.*"}
          ) < 1
        annotations:
          summary: "No worker reaches the brokers of KafkaConnection {{ $who }}"
          description: 'Reason {{ "{{ $labels.reason }}" }}. The message of its Ready condition says more.'
      - alert: EdgereelFiguresMissing
        expr: |-
          max by (kind, namespace, name, reason) (
            edgereel_resource_condition{ {{- $conditions -}} ,type="FiguresAvailable"}
          ) == 0
        annotations:
          summary: 'The operator cannot reach the workers of {{ "{{ $labels.kind }}" }} {{ $who }}'
          description: "They work, and what they say of themselves is not seen. Its FiguresAvailable condition says why."
      - alert: EdgereelRolloutHalted
        expr: |-
          sum by (fleet) (edgereel_operator_rollout_workloads{ {{- $operator -}} ,state="failed"}) > 0
          and
          sum by (fleet) (edgereel_operator_rollout_workloads{ {{- $operator -}} ,state="waiting"}) > 0
        annotations:
          summary: "A change of the Edgereel operator's goes no further"
          description: '{{ $value }} workers did not become ready with it; the others keep their pods. The condition UpToDate says which and why.'
      - alert: EdgereelOperatorErrors
        expr: |-
          sum by (kind) (increase(edgereel_operator_reconciles_total{ {{- $operator -}} ,result="error"}[15m])) > 0
        annotations:
          summary: "The Edgereel operator fails again and again"
          description: '{{ $value }} times in 15 minutes for {{ "{{ $labels.kind }}" }} resources. Its log says at what.'
      - alert: EdgereelDefinitionsOutdated
        expr: |-
          max by (kind) (edgereel_operator_definition_fields_missing{ {{- $operator -}} }) > 0
        annotations:
          summary: 'The definition of {{ "{{ $labels.kind }}" }} is older than the operator'
          description: 'It lacks {{ $value }} fields: what is written into them is lost. The log of the operator names them; upgrade the chart edgereel-crds.'
  {{- end }}
{{- end -}}
