"""What happened at the cameras: made from results, stored with ids, delivered to readers, webhooks and MQTT."""
