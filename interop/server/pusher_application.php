<?php

// The application's own server in PHP: see pusher_application.mjs. Argument: the application. It signs requests, channels and users and seals
// payloads in the way of Pusher's library for PHP, with what php-cli has built in.

declare(strict_types=1);

final class Refusal extends Exception
{
    public function __construct(public readonly int $status, string $message)
    {
        parent::__construct($message);
    }
}

final class Application
{
    public function __construct(private array $about)
    {
    }

    public function authorize(string $socket, string $channel, ?array $member = null): array
    {
        $described = $member === null ? null : json_encode($member, JSON_THROW_ON_ERROR);
        $signed = $described === null ? "$socket:$channel" : "$socket:$channel:$described";
        $answer = ['auth' => $this->about['key'] . ':' . $this->sign($signed)];
        if ($described !== null) {
            $answer['channel_data'] = $described;
        }
        if (str_starts_with($channel, 'private-encrypted-')) {
            $answer['shared_secret'] = base64_encode($this->sharedSecret($channel));
        }
        return $answer;
    }

    public function authenticate(string $socket, array $user): array
    {
        $described = json_encode($user, JSON_THROW_ON_ERROR);
        return ['auth' => $this->about['key'] . ':' . $this->sign("$socket::user::$described"), 'user_data' => $described];
    }

    public function trigger(array $channels, string $event, mixed $data, array $more = []): mixed
    {
        $text = $this->text($channels[0], $data);
        return $this->request('POST', '/events', [], ['name' => $event, 'data' => $text, 'channels' => $channels] + $more);
    }

    public function triggerBatch(array $batch): mixed
    {
        $sealed = fn (array $event): array => ['data' => $this->text($event['channel'], $event['data'])] + $event;
        return $this->request('POST', '/batch_events', [], ['batch' => array_map($sealed, $batch)]);
    }

    public function channels(array $params = []): mixed
    {
        return $this->request('GET', '/channels', $params);
    }

    public function channel(string $name, array $params = []): mixed
    {
        return $this->request('GET', "/channels/$name", $params);
    }

    public function users(string $name): mixed
    {
        return $this->request('GET', "/channels/$name/users");
    }

    public function terminate(string $user): mixed
    {
        return $this->request('POST', "/users/$user/terminate_connections", [], new stdClass());
    }

    public function sendToUser(string $user, string $event, mixed $data): mixed
    {
        return $this->trigger(["#server-to-user-$user"], $event, $data);
    }

    private function text(string $channel, mixed $data): string
    {
        $text = is_string($data) ? $data : json_encode($data, JSON_THROW_ON_ERROR);
        if (!str_starts_with($channel, 'private-encrypted-')) {
            return $text;
        }
        $nonce = random_bytes(SODIUM_CRYPTO_SECRETBOX_NONCEBYTES);
        $sealed = sodium_crypto_secretbox($text, $nonce, $this->sharedSecret($channel));
        return json_encode(['nonce' => base64_encode($nonce), 'ciphertext' => base64_encode($sealed)], JSON_THROW_ON_ERROR);
    }

    private function sharedSecret(string $channel): string
    {
        return hash('sha256', $channel . base64_decode($this->about['encryption_key'], true), true);
    }

    private function sign(string $text): string
    {
        return hash_hmac('sha256', $text, $this->about['secret']);
    }

    private function request(string $method, string $path, array $params = [], mixed $body = null): mixed
    {
        $path = '/apps/' . $this->about['id'] . $path;
        $text = $body === null ? '' : json_encode($body, JSON_THROW_ON_ERROR);
        $params += ['auth_key' => $this->about['key'], 'auth_timestamp' => (string) time(), 'auth_version' => '1.0'];
        if ($text !== '') {
            $params['body_md5'] = md5($text);
        }
        ksort($params);
        $plain = implode('&', array_map(fn (string $name): string => "$name={$params[$name]}", array_keys($params)));
        // What is signed is not escaped, what is sent is.
        $params['auth_signature'] = $this->sign("$method\n$path\n$plain");
        $http = ['method' => $method, 'content' => $text, 'header' => 'Content-Type: application/json', 'ignore_errors' => true, 'timeout' => 10];
        $answer = file_get_contents($this->about['http'] . $path . '?' . http_build_query($params), false, stream_context_create(['http' => $http]));
        $status = (int) explode(' ', $http_response_header[0])[1];
        if ($status !== 200) {
            throw new Refusal($status, $answer);
        }
        return json_decode($answer, false, 512, JSON_THROW_ON_ERROR);
    }
}

$application = new Application(json_decode($argv[1], true, 512, JSON_THROW_ON_ERROR));
while (($line = fgets(STDIN)) !== false) {
    $asked = json_decode($line, true, 512, JSON_THROW_ON_ERROR);
    try {
        $answer = ['value' => $application->{$asked['call']}(...$asked['args'])];
    } catch (Refusal $refusal) {
        $answer = ['error' => ['kind' => 'Refusal', 'status' => $refusal->status, 'message' => $refusal->getMessage()]];
    }
    echo json_encode($answer, JSON_THROW_ON_ERROR), "\n";
}
