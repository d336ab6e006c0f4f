package rcf_test

import (
	"fmt"
	"log"
	"math"

	"fanwatch/rcf"
)

// A sensor did not answer: the forest says what it would have said.
func ExampleForest_Impute() {
	forest, err := rcf.New(rcf.Config{Dimensions: 2, Seed: 1})
	if err != nil {
		log.Fatal(err)
	}
	for i := range 1000 {
		rpm := 1200 + float64(i*37%600)
		watts := rpm/100 + float64(i%3)/10 // the faster, the more
		if err := forest.Update([]float64{rpm, watts}); err != nil {
			log.Fatal(err)
		}
	}
	estimate, err := forest.Impute([]float64{1500, math.NaN()}, []int{1})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("at 1500 RPM %.1f W, from %.1f to %.1f\n", estimate.Value[0], estimate.Low[0], estimate.High[0])
	// Output:
	// at 1500 RPM 15.1 W, from 15.0 to 15.2
}

// What would have been normal in the place of a value that stands out.
func ExampleForest_Expected() {
	forest, err := rcf.New(rcf.Config{Shingle: 8, Seed: 1})
	if err != nil {
		log.Fatal(err)
	}
	temperature := func(hour int) float64 {
		return 20 + 5*math.Sin(2*math.Pi*float64(hour)/24) + float64(hour*7%5)/10
	}
	for hour := range 24 * 60 {
		if err := forest.Update([]float64{temperature(hour)}); err != nil {
			log.Fatal(err)
		}
	}
	// It is midnight, and as warm as it is in the day.
	normal, err := forest.Expected([]float64{25})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("25.0, expected %.1f (%.1f to %.1f)\n", normal.Value[0], normal.Low[0], normal.High[0])
	// Output:
	// 25.0, expected 20.0 (20.0 to 20.4)
}

// A stream with gaps goes on: what is missing is imputed.
func ExampleForest_UpdateMissing() {
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
	if err := forest.UpdateMissing([]float64{math.NaN()}, []int{0}); err != nil {
		log.Fatal(err)
	}
	inTime, _ := forest.Score([]float64{square(1001)})
	flipped, _ := forest.Score([]float64{1 - square(1001)})
	fmt.Printf("after the gap: in time %.1f, out of time %.1f\n", inTime, flipped)
	// Output:
	// after the gap: in time 0.9, out of time 2.9
}
