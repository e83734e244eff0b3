{{/* Names, labels and images: one place for each. */}}

{{/* The name that the operator's resources share: `edgereel-operator` in a release called `edgereel`. */}}
{{- define "edgereel.fullname" -}}
{{- $name := default "edgereel-operator" .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if or (contains $name .Release.Name) (eq .Release.Name .Chart.Name) -}}
{{- ternary $name .Release.Name (eq .Release.Name .Chart.Name) | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* What the operator's pods are found by; it never changes, for a Deployment's selector cannot. */}}
{{- define "edgereel.selectorLabels" -}}
app.kubernetes.io/name: {{ default "edgereel-operator" .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* The labels of every resource of the chart. */}}
{{- define "edgereel.labels" -}}
{{ include "edgereel.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/component: operator
app.kubernetes.io/part-of: edgereel
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "edgereel.serviceAccountName" -}}
{{- if and (not .Values.serviceAccount.create) (not .Values.serviceAccount.name) -}}
{{- fail "serviceAccount.create is false: serviceAccount.name has to say which ServiceAccount to use" -}}
{{- end -}}
{{- default (include "edgereel.fullname" .) .Values.serviceAccount.name -}}
{{- end -}}

{{/* An image by its digest, or else by its tag. Takes a dict of `image` and `version`. */}}
{{- define "edgereel.image" -}}
{{- if .image.digest -}}
{{- printf "%s@%s" .image.repository .image.digest -}}
{{- else -}}
{{- printf "%s:%s" .image.repository (default .version .image.tag) -}}
{{- end -}}
{{- end -}}

{{/* One alert's labels and link. Takes a dict of `root`, `name` and `severity`. */}}
{{- define "edgereel.alertLabels" -}}
severity: {{ .severity }}
{{- with .root.Values.prometheusRule.alertLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}
{{- define "edgereel.runbook" -}}
{{- with .root.Values.prometheusRule.runbookUrl -}}
runbook_url: {{ . }}#{{ $.name | lower }}
{{- end -}}
{{- end -}}
