{{/* The labels of the policies. The definitions have none: they outlive the release. */}}
{{- define "edgereel-crds.labels" -}}
app.kubernetes.io/name: edgereel-crds
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: edgereel
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end -}}

{{/* A policy's binding. Takes a dict of `root`, `policy`, and perhaps `paramRef`. */}}
{{- define "edgereel-crds.binding" -}}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: {{ .policy }}
  labels:
    {{- include "edgereel-crds.labels" .root | nindent 4 }}
spec:
  policyName: {{ .policy }}
  validationActions: {{ .root.Values.admission.actions | toJson }}
  {{- with .paramRef }}
  paramRef:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .root.Values.admission.namespaceSelector }}
  matchResources:
    namespaceSelector:
      {{- toYaml . | nindent 6 }}
  {{- end }}
{{- end -}}

{{/* The directories of nodes that a template's volumes name, as an expression. Takes the object's name in it. */}}
{{- define "edgereel-crds.hostPaths" -}}
(has({{ . }}.spec.template) && has({{ . }}.spec.template.volumes)
  ? {{ . }}.spec.template.volumes.filter(v, has(v.source.hostPath)).map(v, v.source.hostPath.path) : [])
{{- end -}}
