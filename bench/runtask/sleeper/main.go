// Command sleeper is what the containers of bench/runtask run: it says that it
// is there and waits for SIGTERM, upon which it ends at once.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	fmt.Println("here")
	<-stop
}
