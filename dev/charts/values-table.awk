# Makes the table of values in a chart's README from the comments in its values.yaml: awk -f values-table.awk values.yaml
# A key with a comment is a row. A key without one groups the keys below it, which then need comments of their own.

function fail(message) { print FILENAME ":" FNR ": " message > "/dev/stderr"; failed = 1 }
function cell(text) { gsub(/\|/, "\\|", text); return text }

BEGIN { print "| Value | Default | What it does |"; print "|---|---|---|" }

/^ *#/ { line = $0; sub(/^ *# ?/, "", line); comment = comment (comment == "" ? "" : " ") line; next }
/^ *$/ { comment = ""; next }
{
  match($0, /^ */); depth = RLENGTH / 2
  # Below a key that has its comment stands its default.
  if (documented && depth > documented_depth) next
  documented = 0
  if ($0 !~ /^ *[A-Za-z]+:( |$)/) { fail("neither a comment nor a key: " $0); next }
  key = $0; sub(/^ */, "", key); sub(/:.*/, "", key)
  value = $0; sub(/^[^:]*: */, "", value); sub(/^[^:]*:$/, "", value)
  path[depth] = key
  name = path[0]
  for (i = 1; i <= depth; i++) name = name "." path[i]
  if (comment == "") {
    if (value != "") fail(name " has no comment")
    next
  }
  default_ = value == "" ? "see [values.yaml](values.yaml)" : "`" value "`"
  printf "| `%s` | %s | %s |\n", name, cell(default_), cell(comment)
  comment = ""; documented = 1; documented_depth = depth
}

END { exit failed }
