// The connection to the server, carried by Bokeh's own socket.

const RETRY_MS = 1000;

export class Link {
  constructor(Bokeh, document_) {
    this.document = document_;
    this.MessageSentEvent = Bokeh.require("document/events").MessageSentEvent;
    this.lost = false;
    this.acknowledged = 0;
  }

  on(kind, handle) {
    this.document.on_message(kind, handle);
  }

  send(message) {
    if (this.lost) return;
    const event = new this.MessageSentEvent(this.document, "flowtape", JSON.stringify(message));
    event.sync = true;
    this.document._trigger_on_change(event);
  }

  hello(feed) {
    this.send({ kind: "hello", feed });
  }

  ack(seq) {
    if (seq === this.acknowledged) return;
    this.acknowledged = seq;
    this.send({ kind: "ack", seq });
  }

  /** Show `overlay` when the connection is gone, and load the page again once the server answers. */
  watch(overlay, text) {
    this.document.on_event("connection_lost", () => {
      this.lost = true;
      overlay.hidden = false;
      this.retry(text);
    });
  }

  async retry(text) {
    for (;;) {
      await new Promise((done) => setTimeout(done, RETRY_MS));
      try {
        const reply = await fetch("/assets/icon.svg", { cache: "no-store", method: "HEAD" });
        if (reply.ok) {
          location.reload();
          return;
        }
        if (reply.status === 401 || reply.status === 403) {
          text.textContent = "flowtape was started anew: open the new link from the terminal.";
        }
      } catch {
        // nobody listens yet
      }
    }
  }
}
