package traffic

import (
	"fmt"
	"net"
	"sync"
	"time"

	"golang.org/x/net/websocket"
)

// webSockets are open connections that exchange messages all the time.
type webSockets struct {
	stop  chan struct{}
	users sync.WaitGroup
}

// openWebSockets opens n of them on a host; a failure of any ends the load.
func openWebSockets(w *world, l *load, host string, n int) (*webSockets, error) {
	s := &webSockets{stop: make(chan struct{})}
	for i := range n {
		conn, err := dialWebSocket(w.listener(), host)
		if err != nil {
			s.close()
			return nil, fmt.Errorf("open WebSocket %d on %s: %w", i, host, err)
		}
		s.users.Go(func() {
			defer conn.Close()
			if err := s.talk(conn, i); err != nil {
				l.fail(fmt.Errorf("WebSocket %d on %s: %w", i, host, err))
			}
		})
	}
	return s, nil
}

func dialWebSocket(address, host string) (*websocket.Conn, error) {
	configuration, err := websocket.NewConfig("ws://"+host+"/ws", "http://"+host)
	if err != nil {
		return nil, err
	}
	conn, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		return nil, err
	}
	return websocket.NewClient(configuration, conn)
}

// talk sends a message every 50 ms and expects it back within 5 s, on the one connection.
func (s *webSockets) talk(conn *websocket.Conn, id int) error {
	opened := time.Now()
	for number := 0; ; number++ {
		select {
		case <-s.stop:
			return nil
		case <-time.After(50 * time.Millisecond):
		}
		message, answer := fmt.Sprintf("%d-%d", id, number), ""
		_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
		if err := websocket.Message.Send(conn, message); err != nil {
			return fmt.Errorf("send message %d, %s after opening: %w", number, time.Since(opened), err)
		}
		if err := websocket.Message.Receive(conn, &answer); err != nil {
			return fmt.Errorf("receive message %d, %s after opening: %w", number, time.Since(opened), err)
		}
		if answer != message {
			return fmt.Errorf("message %d: sent %q, got %q", number, message, answer)
		}
	}
}

func (s *webSockets) close() {
	close(s.stop)
	s.users.Wait()
}
