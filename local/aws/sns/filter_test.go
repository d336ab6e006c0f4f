package sns

import (
	"strings"
	"testing"
)

func TestFilterMatches(t *testing.T) {
	text := func(v string) Attribute { return Attribute{"String", v} }
	num := func(v string) Attribute { return Attribute{"Number", v} }
	list := func(v string) Attribute { return Attribute{"String.Array", v} }
	other := text("present so that the set is not empty")
	for _, c := range []struct {
		policy string
		value  *Attribute // of "key"; nil: absent
		want   bool
	}{
		{`{}`, nil, true},
		{`{"key":["a","b"]}`, &Attribute{"String", "b"}, true},
		{`{"key":["a","b"]}`, ref(text("B")), false},
		{`{"key":["a"]}`, nil, false},
		{`{"key":["a"]}`, ref(list(`["x","a"]`)), true},
		{`{"key":["a"]}`, ref(list(`["x",1,true,null]`)), false},
		{`{"key":[true]}`, ref(list(`["x",1,true,null]`)), true},
		{`{"key":[null]}`, ref(list(`[null]`)), true},
		{`{"key":[null]}`, nil, true},
		{`{"key":["a"]}`, ref(list(`[["a"],{"a":"a"}]`)), false},
		{`{"key":["a"]}`, ref(list(`a`)), true},
		{`{"key":["1"]}`, ref(num("1")), false},
		{`{"key":[1]}`, ref(num("1.0")), true},
		{`{"key":[1]}`, ref(text("1")), false},
		{`{"key":[0.3]}`, ref(num("0.300000001")), true}, // five digits count
		{`{"key":[{"numeric":["=",300]}]}`, ref(num("300")), true},
		{`{"key":[{"numeric":[">=",0,"<",600]}]}`, ref(num("0")), true},
		{`{"key":[{"numeric":[">=",0,"<",600]}]}`, ref(num("600")), false},
		{`{"key":[{"numeric":[">",0,"<=",600]}]}`, ref(num("600")), true},
		{`{"key":[{"numeric":["<",-1.5]}]}`, ref(num("-2e0")), true},
		{`{"key":[{"numeric":[">",1000000000]}]}`, ref(num("1e300")), true},
		{`{"key":[{"numeric":["<",5]}]}`, ref(text("1")), false},
		{`{"key":[{"numeric":["<",5]}]}`, ref(list(`[9,1]`)), true},
		{`{"key":[{"prefix":"fan-"}]}`, ref(text("fan-07")), true},
		{`{"key":[{"prefix":"fan-"}]}`, ref(text("pump-07")), false},
		{`{"key":[{"suffix":"-07"}]}`, ref(text("fan-07")), true},
		{`{"key":[{"equals-ignore-case":"FAN"}]}`, ref(text("fan")), true},
		{`{"key":[{"anything-but":"a"}]}`, ref(text("b")), true},
		{`{"key":[{"anything-but":["a","b"]}]}`, ref(text("b")), false},
		{`{"key":[{"anything-but":["a"]}]}`, nil, false},
		{`{"key":[{"anything-but":["a"]}]}`, ref(list(`["a","b"]`)), false},
		{`{"key":[{"anything-but":[1,2]}]}`, ref(num("3")), true},
		{`{"key":[{"anything-but":[1,2]}]}`, ref(num("2.0")), false},
		{`{"key":[{"anything-but":{"prefix":"fan-"}}]}`, ref(text("fan-07")), false},
		{`{"key":[{"anything-but":{"prefix":"fan-"}}]}`, ref(text("pump")), true},
		{`{"key":[{"exists":true}]}`, ref(num("3")), true},
		{`{"key":[{"exists":true}]}`, nil, false},
		{`{"key":[{"exists":false}]}`, nil, true},
		{`{"key":[{"exists":false}]}`, ref(text("a")), false},
		{`{"key":["a",{"exists":false}]}`, nil, true},
		{`{"key":[{"exists":true}]}`, &Attribute{"Binary", "AAAA"}, false},
		{`{"key":["a"],"other":["no"]}`, ref(text("a")), false},
	} {
		f, err := parseFilter(c.policy)
		if err != nil {
			t.Errorf("%s: %v", c.policy, err)
			continue
		}
		attributes := map[string]Attribute{"other": other}
		if c.value != nil {
			attributes["key"] = *c.value
		}
		if got := f.matches(attributes); got != c.want {
			t.Errorf("%s on %v: %v, want %v", c.policy, c.value, got, c.want)
		}
	}
	bare, err := parseFilter(`{"key":[{"exists":false}]}`)
	if err != nil || bare.matches(nil) {
		t.Errorf("exists false matched a message without any attribute (%v)", err)
	}
}

func ref(a Attribute) *Attribute { return &a }

// The sentences are those that AWS answers.
func TestFilterRefusals(t *testing.T) {
	for policy, want := range map[string]string{
		`{"key":[["value"]]}`:                               "Match value must be String, number, true, false, or null",
		`{"key":[{"wrong-operator":true}]}`:                 "Unrecognized match type wrong-operator",
		`{"key":[{"suffix":"a","prefix":"b"}]}`:             "Only one key allowed in match expression",
		`{"key":[{"suffix":100}]}`:                          "suffix match pattern must be a string",
		`{"key":[{"prefix":null}]}`:                         "prefix match pattern must be a string",
		`{"key":[{"numeric":[]}]}`:                          "Invalid member in numeric match: ]",
		`{"key":[{"numeric":["operator"]}]}`:                "Unrecognized numeric range operator: operator",
		`{"key":[{"numeric":[1,"<="]}]}`:                    "Invalid member in numeric match: 1",
		`{"key":[{"numeric":["=","000"]}]}`:                 "Value of equals must be numeric",
		`{"key":[{"numeric":[">="]}]}`:                      "Value of >= must be numeric",
		`{"key":[{"numeric":["<",100,">",10]}]}`:            "Too many elements in numeric expression",
		`{"key":[{"numeric":[">=",1,">",2]}]}`:              "Bad numeric range operator: >",
		`{"key":[{"numeric":[">",3,"<",1]}]}`:               "Bottom must be less than top",
		`{"key":[{"numeric":[">",20,"<="]}]}`:               "Value of <= must be numeric",
		`{"key":[{"numeric":[">",20,30]}]}`:                 "Bad value in numeric range: 30",
		`{"key":[{"numeric":[">",20,"test"]}]}`:             "Bad numeric range operator: test",
		`{"key":[{"numeric":[">",20,"<","30"]}]}`:           "Value of < must be numeric",
		`{"key":[{"numeric":[">",20,"<",30,"<",50]}]}`:      "Too many terms in numeric range expression",
		`{"key":[{"exists":null}]}`:                         "exists match pattern must be either true or false.",
		`{"key":[{"exists":"no"}]}`:                         "exists match pattern must be either true or false.",
		`{"key":"value"}`:                                   `"key" must be an object or an array`,
		`{"key":{"inner":["value"]}}`:                       "does not support nested filter policy",
		`{"a":[1],"b":[1],"c":[1],"d":[1],"e":[1],"f":[1]}`: "Filter policy can not have more than 5 keys",
		`{"a":[` + strings.Repeat("1,", 12) + `1],"b":[` + strings.Repeat("1,", 11) + `1]}`: "Filter policy is too complex",
		`{"key":[2000000000]}`:               "must be between -1.0E9 and 1.0E9",
		`{"key":[]}`:                         "Empty arrays are not allowed",
		`{invalid}`:                          "failed to parse JSON",
		`{} {}`:                              "failed to parse JSON",
		`null`:                               "failed to parse JSON",
		`[]`:                                 "failed to parse JSON",
		``:                                   "failed to parse JSON",
		`{"key":[{"anything-but":[]}]}`:      "must be a non-empty array",
		`{"key":[{"anything-but":[true]}]}`:  "must be an array or single string/number value",
		`{"key":[{"anything-but":{"x":1}}]}`: "Unsupported anything-but pattern: x",
		`{"key":[{"cidr":"10.0.0.0/8"}]}`:    "does not implement the filter policy operator cidr",
		`{"$or":[{"a":["b"]}]}`:              "does not implement the filter policy operator $or",
	} {
		if _, err := parseFilter(policy); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", policy, err, want)
		}
	}
}

func FuzzFilter(f *testing.F) {
	for _, policy := range []string{`{}`, `{"key":["a",1,null,true,{"exists":false}]}`,
		`{"key":[{"numeric":[">",0,"<",10]}]}`,
		`{"key":[{"anything-but":{"prefix":"x"}}]}`, `{"key":[{"anything-but":["a",1]},{"equals-ignore-case":"A"}]}`,
		`{"k":[[[]]]}`, `{"k":[1e999]}`} {
		f.Add(policy, "String.Array", `["a",[1],{"b":2},1e400]`)
		f.Add(policy, "Number", "5")
	}
	f.Fuzz(func(t *testing.T, policy, kind, value string) {
		parsed, err := parseFilter(policy)
		if err != nil {
			return
		}
		with := map[string]Attribute{"key": {kind, value}}
		if first, again := parsed.matches(with), parsed.matches(with); first != again {
			t.Errorf("%s judged the same message differently", policy)
		}
		parsed.matches(nil)
	})
}
