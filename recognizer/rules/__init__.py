"""What happens then: rules that notify somebody, call a webhook or switch something when people come or go at the cameras."""
