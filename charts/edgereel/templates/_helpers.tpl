{{/* Names, labels and images: one place for each. */}}

{{/* The name that the operator's resources share: `edgereel-operator` in a release called `edgereel`. */}}
{{- define "edgereel.fullname" -}}
{{- $name := default "edgereel-operator" .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- $name = .Values.fullnameOverride -}}
{{- else if contains $name .Release.Name -}}
{{- $name = .Release.Name -}}
{{- else if ne .Release.Name .Chart.Name -}}
{{- $name = printf "%s-%s" .Release.Name $name -}}
{{- end -}}
{{- $name | trunc 63 | trimAll "-." -}}
{{- end -}}

{{/* The same for a Service, whose name is stricter: no dots, and a letter first. */}}
{{- define "edgereel.serviceName" -}}
{{- regexReplaceAll "^([0-9])" (include "edgereel.fullname" . | replace "." "-") "edgereel-${1}" | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* The same outside of the release's namespace, where a release of this name in another namespace has resources too. */}}
{{- define "edgereel.globalName" -}}
{{- printf "%s.%s" (include "edgereel.fullname" .) .Release.Namespace -}}
{{- end -}}

{{/* What the operator's pods are found by; it never changes, for a Deployment's selector cannot. */}}
{{- define "edgereel.selectorLabels" -}}
app.kubernetes.io/name: {{ default "edgereel-operator" .Values.nameOverride | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{/*
Labels: a resource's own before those of `commonLabels`, these before the chart's, and what pods are found by before all.
Takes a dict of `root` and `labels`.
*/}}
{{- define "edgereel.labels" -}}
{{- $chart := dict
  "app.kubernetes.io/version" .root.Chart.AppVersion
  "app.kubernetes.io/component" "operator"
  "app.kubernetes.io/part-of" "edgereel"
  "app.kubernetes.io/managed-by" .root.Release.Service
  "helm.sh/chart" (printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-")
-}}
{{- $selector := include "edgereel.selectorLabels" .root | fromYaml -}}
{{- merge $selector (.labels | default dict) (.root.Values.commonLabels | default dict) $chart | toYaml -}}
{{- end -}}

{{/*
A resource's metadata. Takes a dict of `root`, and perhaps `name` (the one that all share), `namespace`, `labels`, `annotations`.
*/}}
{{- define "edgereel.metadata" -}}
name: {{ .name | default (include "edgereel.fullname" .root) | quote }}
{{- with .namespace }}
namespace: {{ . | quote }}
{{- end }}
labels:
  {{- include "edgereel.labels" . | nindent 2 }}
{{- with merge dict (.annotations | default dict) (.root.Values.commonAnnotations | default dict) }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "edgereel.serviceAccountName" -}}
{{- if and (not .Values.serviceAccount.create) (not .Values.serviceAccount.name) -}}
{{- fail "serviceAccount.create is false: serviceAccount.name has to say which ServiceAccount to use" -}}
{{- end -}}
{{- default (include "edgereel.fullname" .) .Values.serviceAccount.name -}}
{{- end -}}

{{/*
An image by its digest, or else by its tag; from `global.imageRegistry` if there is one. Takes a dict of `root` and `image`.
*/}}
{{- define "edgereel.image" -}}
{{- $repository := .image.repository -}}
{{- with (.root.Values.global | default dict).imageRegistry -}}
{{- $repository = printf "%s/%s" (trimSuffix "/" .) (regexReplaceAll "^([^/]*[.:][^/]*|localhost)/" $repository "") -}}
{{- end -}}
{{- if .image.digest -}}
{{- printf "%s@%s" $repository .image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (default .root.Chart.AppVersion .image.tag) -}}
{{- end -}}
{{- end -}}

{{/*
What it may see beside that, in no namespace: which nodes are lost, and with them the pods that run there.
*/}}
{{- define "edgereel.nodeRules" -}}
- apiGroups: [""]
  resources: [nodes]
  verbs: [list, watch]
{{- end -}}
{{/*
Whether it may: as it is wanted, else where it has a ClusterRole anyway.
*/}}
{{- define "edgereel.watchNodes" -}}
{{- if kindIs "invalid" .Values.rbac.nodes }}{{ empty .Values.watchNamespaces }}{{ else }}{{ .Values.rbac.nodes }}{{ end }}
{{- end -}}

{{/*
The ports of the API server, with commas between: those that are given, else what the cluster says of itself, which is the
Service's port and the ones behind it, else (without a cluster: `helm template`, Argo CD) the usual ones.
*/}}
{{- define "edgereel.apiServerPorts" -}}
{{- $ports := list }}
{{- range .Values.networkPolicy.apiServerPorts }}
{{- $ports = append $ports (int .) }}
{{- end }}
{{- if not $ports }}
{{- range (dig "spec" "ports" list (lookup "v1" "Service" "default" "kubernetes")) }}
{{- $ports = append $ports (int .port) }}
{{- end }}
{{- range (dig "ports" list (lookup "discovery.k8s.io/v1" "EndpointSlice" "default" "kubernetes")) }}
{{- $ports = append $ports (int .port) }}
{{- end }}
{{- end }}
{{- $ports | default (list 443 6443) | uniq | sortAlpha | join "," }}
{{- end }}
