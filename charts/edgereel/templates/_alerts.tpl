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
          time() - max by (namespace, name) (edgereel_camera_last_frame_timestamp_seconds) > {{ $t.offlineSeconds }}
        annotations:
          summary: "Camera {{ $who }} sends no frames"
          description: "No frame for more than {{ $t.offlineSeconds }} seconds. Its CameraOnline condition says why."
      - alert: EdgereelCameraSlow
        # What the camera is to bring is the highest rate that its worker has aimed at: `adaptive` lowers the present one. `and`
        # keeps only workers that still run, so that an edited target counts at once. Without a target the rate is infinite.
        expr: |-
          sum by (namespace, name) (rate(edgereel_camera_frames_acknowledged_total[5m]))
          < clamp_max(
            max by (namespace, name) (
              max_over_time(edgereel_camera_frame_rate_target[1d]) and edgereel_camera_frame_rate_target
            ) * {{ $t.framesPerSecond }} / 30,
            {{ $t.framesPerSecond }}
          )
          and
          time() - max by (namespace, name) (edgereel_camera_last_frame_timestamp_seconds) <= {{ $t.offlineSeconds }}
        annotations:
          summary: "Camera {{ $who }} is slow"
          description: "It brings {{ $value }} frames a second to Kafka."
      - alert: EdgereelFramesDropped
        # Frames above the target are dropped because someone wants it so.
        expr: |-
          sum by (namespace, name, reason) (
            increase(edgereel_camera_frames_dropped_total{reason!="pacing"}[5m])
          ) > 0
        annotations:
          summary: "Camera {{ $who }} loses frames"
          description: 'Dropped in five minutes: {{ $value }}, reason {{ "{{ $labels.reason }}" }}.'
      - alert: EdgereelCameraCapturedTwice
        expr: |-
          max by (namespace, name) (edgereel_camera_captured_twice) > 0
        annotations:
          summary: "Camera {{ $who }} is captured by two processes"
          description: "Each of its frames stands in its topic twice. Its Ready condition says who the other is."
  - name: edgereel.sinks
    rules:
      - alert: EdgereelSinkLagging
        expr: |-
          max by (namespace, name) (edgereel_sink_lag_records) > {{ $t.lagRecords }}
        annotations:
          summary: "Sink {{ $who }} lags behind its topic"
          description: "{{ $value }} records are still to be stored."
      - alert: EdgereelDiskFilling
        expr: |-
          100 * (1 - max by (namespace, name) (
            edgereel_sink_disk_free_bytes / edgereel_sink_disk_size_bytes
          )) > {{ $t.diskUsedPercent }}
        annotations:
          summary: "The disk of sink {{ $who }} is filling up"
          description: "{{ $value }} % are used. When it is full the sink waits, and frames stay in Kafka as long as the topic keeps them."
      - alert: EdgereelRecordsLost
        expr: |-
          sum by (namespace, name) (increase(edgereel_sink_records_lost_total[1h])) > 0
        annotations:
          summary: "Sink {{ $who }} has lost records"
          description: "{{ $value }} records were gone from the topic before they were stored."
  - name: edgereel.resources
    rules:
      - alert: EdgereelNotReady
        # Cameras that are offline have an alert of their own.
        expr: |-
          max by (namespace, name) (edgereel_ready) == 0
          unless
          time() - max by (namespace, name) (edgereel_camera_last_frame_timestamp_seconds) > {{ $t.offlineSeconds }}
        annotations:
          summary: "{{ $who }} is not ready"
          description: "Its Ready condition is false; the condition's reason and message say why."
  {{- if .Values.metrics.serviceMonitor.enabled }}
  {{- $operator := printf "job=%q,namespace=%q" (include "edgereel.serviceName" .) .Release.Namespace }}
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
      - alert: EdgereelNotRunning
        # No worker runs that could say so itself: what the alerts above are made of is not there.
        expr: |-
          sum by (kind, reason) (
            edgereel_operator_resources{ {{- $operator -}} ,ready!="true",reason=~"Unschedulable|ImagePullFailed|PodCrashing|PodFailed|RolloutInProgress|HostPathNotAllowed|InvalidConfiguration|SecretMissing|SecretKeyMissing|ResourceMalformed|NameTaken|RunFailed|OperatorError|WorkerUnreachable"}
          ) > 0
        annotations:
          summary: '{{ "{{ $labels.kind }}" }} resources do not run'
          description: '{{ $value }} of them, reason {{ "{{ $labels.reason }}" }}. `kubectl get cam,fsink,kc -A` shows which.'
      - alert: EdgereelOperatorErrors
        expr: |-
          sum by (kind) (increase(edgereel_operator_reconciles_total{ {{- $operator -}} ,result="error"}[15m])) > 0
        annotations:
          summary: "The Edgereel operator fails again and again"
          description: '{{ $value }} times in 15 minutes for {{ "{{ $labels.kind }}" }} resources. Its log says at what.'
  {{- end }}
{{- end -}}
