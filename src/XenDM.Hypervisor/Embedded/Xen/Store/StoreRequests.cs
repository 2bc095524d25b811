using System;
using System.Collections.Generic;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using XenDM.Core.Hypervisor;

namespace XenDM.Hypervisor.Embedded.Xen.Store;

/// <summary>xsd_sockmsg_type of xen/public/io/xs_wire.h.</summary>
internal enum StoreRequestKind : uint
{
    Directory = 1,
    Read = 2,
    GetPermissions = 3,
    Watch = 4,
    Unwatch = 5,
    TransactionStart = 6,
    TransactionEnd = 7,
    GetDomainPath = 10,
    Write = 11,
    MakeDirectory = 12,
    Remove = 13,
    SetPermissions = 14,
    WatchEvent = 15,
    Error = 16,
    IsIntroduced = 17,
    ResetWatches = 21,
    DirectoryPart = 22,
}

/// <summary>What one client asks the store for: its requests, its transactions, its watches and the events that wait for it.</summary>
internal sealed class StoreRequests(XenStore store, int domain)
{
    public const int MaxPayload = 4096;
    private const int MaxWatches = 128;
    private const int MaxTransactions = 10;
    private const int MaxRelativePath = 2048;

    /// <summary>Events that wait one by one. Past them a watch waits with its own path only, which says that something below it changed.</summary>
    private const int MaxEvents = 1024;

    private readonly Dictionary<uint, StoreTransaction> _transactions = [];
    private readonly List<StoreWatch> _watches = [];
    private readonly Queue<(string Path, string Token)> _events = new();
    private readonly HashSet<(string Path, string Token)> _waiting = [];
    private uint _lastTransaction;

    /// <summary>An event came while the client was not being served.</summary>
    public Action? EventCame { get; set; }

    public int WaitingEvents => _events.Count;

    /// <summary>Drops the client's watches, events and transactions.</summary>
    public void Reset()
    {
        foreach (var watch in _watches) store.Remove(watch);
        _watches.Clear();
        _transactions.Clear();
        _events.Clear();
        _waiting.Clear();
    }

    /// <summary>The next event that waits.</summary>
    /// <param name="payload">Path and token.</param>
    public bool TryTakeEvent(out byte[] payload)
    {
        payload = [];
        if (!_events.TryDequeue(out var next)) return false;
        _waiting.Remove(next);
        payload = Encoding.Latin1.GetBytes($"{next.Path}\0{next.Token}\0");
        return true;
    }

    /// <summary>Adds what waits, and which transactions are open, to a hash.</summary>
    public void AppendTo(IncrementalHash hash)
    {
        foreach (var (path, token) in _events) hash.AppendData(Encoding.Latin1.GetBytes($"{path}\0{token}\0"));
        foreach (var transaction in _transactions.Keys) hash.AppendData(BitConverter.GetBytes(transaction));
        hash.AppendData(BitConverter.GetBytes(_lastTransaction));
    }

    /// <summary>Carries a request out.</summary>
    /// <returns>The payload of the reply.</returns>
    /// <exception cref="StoreException">It is wrong, or not allowed.</exception>
    public byte[] Carry(StoreRequestKind kind, uint transactionId, ReadOnlySpan<byte> payload)
    {
        StoreTransaction? transaction = null;
        if (transactionId != 0 && !_transactions.TryGetValue(transactionId, out transaction)) throw new StoreException("ENOENT");
        switch (kind)
        {
            case StoreRequestKind.Read:
                return store.Get(domain, Path(payload), transaction).Value;
            case StoreRequestKind.Directory:
                return Join(store.Get(domain, Path(payload), transaction).Children.Keys);
            case StoreRequestKind.DirectoryPart:
                return Part(payload, transaction);
            case StoreRequestKind.GetPermissions:
                return Join(Texts(store.Get(domain, Path(payload), transaction).Permissions));
            case StoreRequestKind.Write:
                var end = payload.IndexOf((byte)0);
                if (end < 0) throw new StoreException("EINVAL");
                store.Write(domain, Path(payload[..(end + 1)]), payload[(end + 1)..].ToArray(), transaction);
                return Done();
            case StoreRequestKind.MakeDirectory:
                store.MakeFolder(domain, Path(payload), transaction);
                return Done();
            case StoreRequestKind.Remove:
                store.Remove(domain, Path(payload), transaction);
                return Done();
            case StoreRequestKind.SetPermissions:
                var words = Words(payload);
                if (words.Count < 2) throw new StoreException("EINVAL");
                store.SetPermissions(domain, Absolute(words[0]), words.GetRange(1, words.Count - 1).ConvertAll(Permission), transaction);
                return Done();
            case StoreRequestKind.Watch:
                AddWatch(payload);
                return Done();
            case StoreRequestKind.Unwatch:
                RemoveWatch(payload);
                return Done();
            case StoreRequestKind.TransactionStart:
                return Start(transaction);
            case StoreRequestKind.TransactionEnd:
                return End(transaction, payload);
            case StoreRequestKind.GetDomainPath:
                return Encoding.ASCII.GetBytes($"/local/domain/{Number(payload)}\0");
            case StoreRequestKind.IsIntroduced:
                return Number(payload) is var number && (number == domain || number == 0) ? "T\0"u8.ToArray() : "F\0"u8.ToArray();
            case StoreRequestKind.ResetWatches:
                Reset();
                return Done();
            default:
                throw new StoreException(kind is 0 or (StoreRequestKind)8 or (StoreRequestKind)9 or (StoreRequestKind)18 or (StoreRequestKind)19 ? "EACCES" : "ENOSYS");
        }
    }

    private byte[] Start(StoreTransaction? inside)
    {
        if (inside is not null) throw new StoreException("EBUSY");
        if (_transactions.Count == MaxTransactions) throw new StoreException("ENOSPC");
        do _lastTransaction++;
        while (_lastTransaction == 0 || _transactions.ContainsKey(_lastTransaction));
        _transactions[_lastTransaction] = store.Start(_lastTransaction);
        return Encoding.ASCII.GetBytes($"{_lastTransaction}\0");
    }

    private byte[] End(StoreTransaction? transaction, ReadOnlySpan<byte> payload)
    {
        if (transaction is null) throw new StoreException("ENOENT");
        var commit = Words(payload) is [var word] && word is "T" or "F" ? word == "T" : throw new StoreException("EINVAL");
        _transactions.Remove(transaction.Id);
        if (commit && !store.TryCommit(transaction)) throw new StoreException("EAGAIN");
        return Done();
    }

    private (string Path, string Token, string Prefix) WatchOf(ReadOnlySpan<byte> payload)
    {
        if (Words(payload) is not [var path, var token]) throw new StoreException("EINVAL");
        if (path is "@introduceDomain" or "@releaseDomain") return (path, token, "");
        var absolute = Absolute(path);
        XenStore.Check(absolute);
        return (absolute, token, path.StartsWith('/') ? "" : $"/local/domain/{domain}/");
    }

    private void AddWatch(ReadOnlySpan<byte> payload)
    {
        var (path, token, prefix) = WatchOf(payload);
        if (_watches.Exists(w => w.Path == path && w.Token == token)) throw new StoreException("EEXIST");
        if (domain != 0 && _watches.Count == MaxWatches) throw new StoreException("E2BIG");
        var watch = new StoreWatch(domain, path, token, prefix, Queue);
        _watches.Add(watch);
        store.Add(watch);
    }

    private void RemoveWatch(ReadOnlySpan<byte> payload)
    {
        var (path, token, _) = WatchOf(payload);
        var watch = _watches.Find(w => w.Path == path && w.Token == token) ?? throw new StoreException("ENOENT");
        _watches.Remove(watch);
        store.Remove(watch);
    }

    private void Queue(StoreWatch watch, string path)
    {
        var next = (_events.Count < MaxEvents ? path : watch.OwnPath, watch.Token);
        if (!_waiting.Add(next)) return;
        _events.Enqueue(next);
        EventCame?.Invoke();
    }

    /// <summary>A slice of a long list of children, behind the node's generation; an empty name ends the last one.</summary>
    private byte[] Part(ReadOnlySpan<byte> payload, StoreTransaction? transaction)
    {
        if (Words(payload) is not [var path, var text] || !int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var offset)) throw new StoreException("EINVAL");
        var node = store.Get(domain, Absolute(path), transaction);
        var head = Encoding.ASCII.GetBytes($"{node.Generation}\0");
        var names = Join(node.Children.Keys);
        if (offset >= names.Length) return [.. head, 0];
        var room = MaxPayload - head.Length - 1;
        var rest = names.AsSpan(offset);
        if (rest.Length <= room) return [.. head, .. rest, 0];
        return [.. head, .. rest[..(rest[..room].LastIndexOf((byte)0) + 1)]];
    }

    private static byte[] Done() => "OK\0"u8.ToArray();

    private string Path(ReadOnlySpan<byte> payload) => Absolute(Words(payload) is [var path] ? path : throw new StoreException("EINVAL"));

    /// <summary>Paths without a slash are below the domain's own node.</summary>
    private string Absolute(string path)
    {
        if (path.StartsWith('/')) return path;
        return path.Length <= MaxRelativePath ? $"/local/domain/{domain}/{path}" : throw new StoreException("EINVAL");
    }

    /// <summary>Texts that each end in a zero.</summary>
    private static List<string> Words(ReadOnlySpan<byte> payload)
    {
        if (payload.IsEmpty || payload[^1] != 0) throw new StoreException("EINVAL");
        return [.. Encoding.Latin1.GetString(payload[..^1]).Split('\0')];
    }

    private static int Number(ReadOnlySpan<byte> payload) =>
        Words(payload) is [var text] && int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var number) ? number : throw new StoreException("EINVAL");

    private static StorePermission Permission(string text) =>
        text.Length > 1 && text[0] is 'n' or 'r' or 'w' or 'b' && ushort.TryParse(text.AsSpan(1), NumberStyles.None, CultureInfo.InvariantCulture, out var number)
            ? new StorePermission(text[0], number)
            : throw new StoreException("EINVAL");

    private static IEnumerable<string> Texts(IEnumerable<StorePermission> permissions)
    {
        foreach (var permission in permissions) yield return permission.ToString();
    }

    private static byte[] Join(IEnumerable<string> words)
    {
        var text = new StringBuilder();
        foreach (var word in words) text.Append(word).Append('\0');
        return Encoding.ASCII.GetBytes(text.ToString());
    }
}
