package sns

import (
	"bytes"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// The AWS Query protocol: a form in, XML out.
// https://smithy.io/2.0/aws/protocols/aws-query-protocol.html

const (
	xmlNamespace = "http://sns.amazonaws.com/doc/2010-03-31/"
	// maxRequest leaves room for a message of 256 KiB in which every byte is
	// percent-encoded, and its attributes.
	maxRequest = 1 << 20
)

// apiError is an answer that AWS documents: HTTP status, code and sentence.
type apiError struct {
	status        int
	code, message string
}

func (e *apiError) Error() string { return e.code + ": " + e.message }

func invalid(format string, args ...any) *apiError {
	return &apiError{http.StatusBadRequest, "InvalidParameter", "Invalid parameter: " + fmt.Sprintf(format, args...)}
}

func notFound(what string) *apiError {
	return &apiError{http.StatusNotFound, "NotFound", what + " does not exist"}
}

func notImplemented(format string, args ...any) *apiError {
	return &apiError{http.StatusNotImplemented, "NotImplemented", "the local SNS does not implement " +
		fmt.Sprintf(format, args...)}
}

// params is a decoded request.
type params struct{ form url.Values }

// decodeRequest reads the parameters of a POST (form) or of a GET (query).
func decodeRequest(w http.ResponseWriter, r *http.Request) (params, error) {
	if r.Method == http.MethodGet {
		return params{r.URL.Query()}, nil
	}
	if r.Method != http.MethodPost {
		return params{}, &apiError{http.StatusMethodNotAllowed, "MethodNotAllowed", "use POST with a form"}
	}
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil ||
		t != "application/x-www-form-urlencoded" {
		return params{}, &apiError{http.StatusUnsupportedMediaType, "UnsupportedMediaType",
			"the body must be application/x-www-form-urlencoded (the AWS Query protocol)"}
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxRequest)
	if err := r.ParseForm(); err != nil {
		return params{}, &apiError{http.StatusBadRequest, "MalformedQueryString", "the form cannot be read: " + err.Error()}
	}
	return params{r.Form}, nil
}

func (p params) get(name string) string { return p.form.Get(name) }
func (p params) has(name string) bool   { return p.form.Has(name) }

// required answers as AWS does when a required member is missing.
func (p params) required(names ...string) error {
	for _, name := range names {
		if !p.has(name) {
			member := strings.ToLower(name[:1]) + name[1:]
			return &apiError{http.StatusBadRequest, "ValidationError",
				"1 validation error detected: Value null at '" + member + "' failed to satisfy constraint: Member must not be null"}
		}
	}
	return nil
}

// attributes reads Attributes.entry.N.key and .value, N from 1.
func (p params) attributes() map[string]string {
	m := map[string]string{}
	for n := 1; ; n++ {
		at := "Attributes.entry." + strconv.Itoa(n)
		if !p.has(at + ".key") {
			return m
		}
		m[p.get(at+".key")] = p.get(at + ".value")
	}
}

// Attribute is a message attribute: a data type (String, Number, String.Array
// or Binary, with an optional suffix as in Number.int) and its value; a Binary
// value is in base64.
type Attribute struct {
	Type  string
	Value string
}

// messageAttributes reads MessageAttributes.entry.N.* and validates as AWS.
// https://docs.aws.amazon.com/sns/latest/dg/sns-message-attributes.html
func (p params) messageAttributes() (map[string]Attribute, error) {
	m := map[string]Attribute{}
	for n := 1; ; n++ {
		at := "MessageAttributes.entry." + strconv.Itoa(n)
		if !p.has(at + ".Name") {
			return m, nil
		}
		name := p.get(at + ".Name")
		a := Attribute{Type: p.get(at + ".Value.DataType"), Value: p.get(at + ".Value.StringValue")}
		if base, _, _ := strings.Cut(a.Type, "."); base == "Binary" {
			a.Value = p.get(at + ".Value.BinaryValue")
		}
		if err := validAttribute(name, a); err != nil {
			return nil, err
		}
		if _, twice := m[name]; twice {
			return nil, badAttribute("The message attribute '%s' is given twice.", name)
		}
		m[name] = a
	}
}

func validAttribute(name string, a Attribute) error {
	base, _, _ := strings.Cut(a.Type, ".")
	lower := strings.ToLower(name)
	switch {
	case name == "" || len(name) > 256 || strings.Trim(name, nameRunes+".") != "" ||
		strings.HasPrefix(name, ".") || strings.HasSuffix(name, ".") || strings.Contains(name, "..") ||
		strings.HasPrefix(lower, "aws.") || strings.HasPrefix(lower, "amazon."):
		return badAttribute("The message attribute name '%s' is not valid: 1 to 256 letters, digits, '_', '-' and "+
			"single inner '.', not starting with AWS. or Amazon.", name)
	case a.Type == "":
		return badAttribute("The message attribute '%s' must contain non-empty message attribute type.", name)
	case !slices.Contains([]string{"String", "Number", "Binary"}, base):
		return badAttribute("The message attribute '%s' has an invalid message attribute type, the set of supported "+
			"type prefixes is Binary, Number, and String.", name)
	case a.Value == "":
		return badAttribute("The message attribute '%s' must contain non-empty message attribute value for message "+
			"attribute type '%s'.", name, base)
	}
	switch base {
	case "Number":
		if _, ok := decimal(a.Value); !ok {
			return badAttribute("Could not cast message attribute '%s' value to number.", name)
		}
	case "Binary":
		if _, err := base64.StdEncoding.DecodeString(a.Value); err != nil {
			return badAttribute("The message attribute '%s' is not base64.", name)
		}
	}
	return nil
}

const nameRunes = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"

func badAttribute(format string, args ...any) *apiError {
	return &apiError{http.StatusBadRequest, "ParameterValueInvalid", fmt.Sprintf(format, args...)}
}

// entry is how one pair of a map appears in XML.
type entry struct {
	Key   string `xml:"key"`
	Value string `xml:"value"`
}

func entriesOf(m map[string]string) []entry {
	list := make([]entry, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		list = append(list, entry{k, m[k]})
	}
	return list
}

// encodeResult wraps an operation's result; nil is an operation without one.
func encodeResult(operation string, result any, requestID string) ([]byte, error) {
	var b bytes.Buffer
	e := xml.NewEncoder(&b)
	root := xml.StartElement{Name: xml.Name{Local: operation + "Response"},
		Attr: []xml.Attr{{Name: xml.Name{Local: "xmlns"}, Value: xmlNamespace}}}
	if err := e.EncodeToken(root); err != nil {
		return nil, err
	}
	if result != nil {
		if err := e.EncodeElement(result, xml.StartElement{Name: xml.Name{Local: operation + "Result"}}); err != nil {
			return nil, err
		}
	}
	meta := struct{ RequestId string }{requestID}
	if err := e.EncodeElement(meta, xml.StartElement{Name: xml.Name{Local: "ResponseMetadata"}}); err != nil {
		return nil, err
	}
	if err := e.EncodeToken(root.End()); err != nil {
		return nil, err
	}
	if err := e.Flush(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func writeError(w http.ResponseWriter, e *apiError, requestID string) {
	kind := "Sender"
	if e.status >= 500 {
		kind = "Receiver"
	}
	type detail struct{ Type, Code, Message string }
	body, err := xml.Marshal(struct {
		XMLName   xml.Name `xml:"http://sns.amazonaws.com/doc/2010-03-31/ ErrorResponse"`
		Error     detail
		RequestId string
	}{Error: detail{kind, e.code, e.message}, RequestId: requestID})
	if err != nil {
		http.Error(w, e.Error(), e.status)
		return
	}
	writeXML(w, e.status, body, requestID)
}

func writeXML(w http.ResponseWriter, status int, body []byte, requestID string) {
	w.Header().Set("Content-Type", "text/xml")
	w.Header().Set("x-amzn-RequestId", requestID)
	w.WriteHeader(status)
	w.Write(body) // a client that is gone learns nothing from an error here
}
