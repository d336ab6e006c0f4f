package rcf_test

import (
	"fmt"
	"log"

	"fanwatch/rcf"
)

// A fan that runs at about 1800 RPM, and then does not.
func Example() {
	forest, err := rcf.New(rcf.Config{Seed: 1})
	if err != nil {
		log.Fatal(err)
	}
	for i := range 1000 {
		rpm := 1800 + float64(i*37%20) // a little jitter
		if _, err := forest.Process([]float64{rpm}); err != nil {
			log.Fatal(err)
		}
	}
	for _, rpm := range []float64{1808, 300} {
		score, err := forest.Score([]float64{rpm})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%4.0f RPM: %.1f\n", rpm, score)
	}
	// Output:
	// 1808 RPM: 0.8
	//  300 RPM: 8.0
}

// The attribution says which value is odd, and in which direction.
func ExampleForest_Attribute() {
	names := []string{"rpm", "temperature"}
	forest, err := rcf.New(rcf.Config{Dimensions: len(names), Seed: 1})
	if err != nil {
		log.Fatal(err)
	}
	for i := range 1000 {
		if err := forest.Update([]float64{1800 + float64(i*37%20), 40 + float64(i*11%7)}); err != nil {
			log.Fatal(err)
		}
	}
	why, err := forest.Attribute([]float64{1810, 95})
	if err != nil {
		log.Fatal(err)
	}
	for i, name := range names {
		fmt.Printf("%s: high %.0f%%, low %.0f%%\n", name, 100*why.High[i]/why.Sum(), 100*why.Low[i]/why.Sum())
	}
	// Output:
	// rpm: high 0%, low 0%
	// temperature: high 100%, low 0%
}

// With a shingle the forest judges shapes: a value that is ordinary by itself stands out when it comes at the wrong
// time.
func ExampleConfig_shingle() {
	forest, err := rcf.New(rcf.Config{Shingle: 4, Seed: 1})
	if err != nil {
		log.Fatal(err)
	}
	square := func(i int) float64 { return float64(i / 2 % 2) } // 0 0 1 1 0 0 1 1 ...
	for i := range 1000 {
		if err := forest.Update([]float64{square(i)}); err != nil {
			log.Fatal(err)
		}
	}
	expected, _ := forest.Score([]float64{square(1000)})
	flipped, _ := forest.Score([]float64{1 - square(1000)})
	fmt.Printf("in time %.1f, out of time %.1f\n", expected, flipped)
	// Output:
	// in time 0.9, out of time 2.9
}

// A forest moves to another process as bytes and goes on there as if nothing had happened.
func ExampleForest_MarshalBinary() {
	forest, err := rcf.New(rcf.Config{})
	if err != nil {
		log.Fatal(err)
	}
	for i := range 300 {
		if err := forest.Update([]float64{float64(i % 60)}); err != nil {
			log.Fatal(err)
		}
	}
	snapshot, err := forest.MarshalBinary()
	if err != nil {
		log.Fatal(err)
	}

	var restored rcf.Forest
	if err := restored.UnmarshalBinary(snapshot); err != nil {
		log.Fatal(err)
	}
	a, _ := forest.Process([]float64{99})
	b, _ := restored.Process([]float64{99})
	fmt.Println(a == b, restored.Seen())
	// Output:
	// true 301
}
