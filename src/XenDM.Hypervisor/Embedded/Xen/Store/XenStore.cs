using System;
using System.Collections.Generic;
using System.Security.Cryptography;
using System.Text;

namespace XenDM.Hypervisor.Embedded.Xen.Store;

/// <summary>Why a request failed, in the word that goes to the client.</summary>
public sealed class StoreException(string error) : Exception(error)
{
    /// <summary>As in EINVAL.</summary>
    public string Error { get; } = error;
}

/// <summary>Who may do what with a node: the first entry names its owner and what everybody else may.</summary>
/// <param name="Letter">n nothing, r read, w write, b both.</param>
public readonly record struct StorePermission(char Letter, int Domain)
{
    public bool Reads => Letter is 'r' or 'b';

    public bool Writes => Letter is 'w' or 'b';

    public override string ToString() => $"{Letter}{Domain}";
}

/// <summary>
/// A tree of named values with owners, as docs/misc/xenstore.txt of Xen has it. Domain 0 may do everything. What others make is bounded: nodes a
/// domain, bytes a node, depth by the length of paths.
/// </summary>
public sealed class XenStore
{
    /// <summary>Nodes that a domain without privileges may own.</summary>
    public const int MaxNodes = 1000;

    /// <summary>Bytes of a value that such a domain may write.</summary>
    public const int MaxValueBytes = 2048;
    private const int MaxPath = 3072;
    private const int MaxPermissions = 5;

    private readonly Dictionary<int, int> _owned = [];
    private Node _root = MakeRoot();

    private sealed class Node
    {
        public readonly SortedDictionary<string, Node> Children = new(StringComparer.Ordinal);
        public byte[] Value = [];
        public List<StorePermission> Permissions = [];

        public int Owner => Permissions[0].Domain;

        public bool May(int domain, bool write)
        {
            if (domain == 0 || domain == Owner) return true;
            var found = Permissions.FindIndex(1, p => p.Domain == domain);
            var permission = Permissions[Math.Max(found, 0)];
            return write ? permission.Writes : permission.Reads;
        }
    }

    /// <summary>Forgets everything.</summary>
    public void Clear()
    {
        _root = MakeRoot();
        _owned.Clear();
    }

    /// <summary>A node of domain 0's that a guest may read, or of the guest's own; so is what is made below it.</summary>
    public void Make(string path, int guest, bool guestMayWrite)
    {
        Write(path, "");
        SetPermissions(0, path, guestMayWrite ? [new('n', guest)] : [new('n', 0), new('r', guest)]);
    }

    /// <summary>As domain 0.</summary>
    public void Write(string path, string value) => Write(0, path, Encoding.UTF8.GetBytes(value));

    /// <summary>As domain 0; null when there is no such node.</summary>
    public string? Read(string path) => Find(path) is { } node ? Encoding.UTF8.GetString(node.Value) : null;

    /// <exception cref="StoreException">ENOENT, EACCES or EINVAL.</exception>
    public byte[] Read(int domain, string path) => Get(domain, path, write: false).Value;

    /// <summary>Names of the nodes below.</summary>
    /// <exception cref="StoreException">As with <see cref="Read(int, string)"/>.</exception>
    public IEnumerable<string> List(int domain, string path) => Get(domain, path, write: false).Children.Keys;

    /// <exception cref="StoreException">As with <see cref="Read(int, string)"/>.</exception>
    public IReadOnlyList<StorePermission> Permissions(int domain, string path) => Get(domain, path, write: false).Permissions;

    /// <summary>Sets a value; the node and those above it are made where they are missing.</summary>
    /// <exception cref="StoreException">EACCES, EINVAL, ENOSPC for more than the domain may have.</exception>
    public void Write(int domain, string path, ReadOnlySpan<byte> value)
    {
        if (domain != 0 && value.Length > MaxValueBytes) throw new StoreException("ENOSPC");
        MakeNode(domain, path).Value = value.ToArray();
    }

    /// <summary>Makes an empty node where there is none.</summary>
    /// <exception cref="StoreException">As with <see cref="Write(int, string, ReadOnlySpan{byte})"/>.</exception>
    public void MakeFolder(int domain, string path) => MakeNode(domain, path);

    /// <summary>Removes a node and all below it.</summary>
    /// <exception cref="StoreException">ENOENT when the parent is not there either, EACCES, EINVAL for the root.</exception>
    public void Remove(int domain, string path)
    {
        Check(path);
        var slash = path.LastIndexOf('/');
        if (path == "/") throw new StoreException("EINVAL");
        var parent = Find(slash == 0 ? "/" : path[..slash]) ?? throw new StoreException("ENOENT");
        if (!parent.Children.TryGetValue(path[(slash + 1)..], out var node)) return;
        if (!node.May(domain, write: true)) throw new StoreException("EACCES");
        parent.Children.Remove(path[(slash + 1)..]);
        Forget(node);
    }

    /// <exception cref="StoreException">ENOENT, EACCES when the caller is not the owner, EINVAL for an empty list, ENOSPC for a long one.</exception>
    public void SetPermissions(int domain, string path, IReadOnlyList<StorePermission> permissions)
    {
        var node = Get(domain, path, write: true);
        if (permissions.Count == 0) throw new StoreException("EINVAL");
        if (domain != 0 && (domain != node.Owner || permissions[0].Domain != domain)) throw new StoreException("EACCES");
        if (domain != 0 && permissions.Count > MaxPermissions) throw new StoreException("ENOSPC");
        Count(node.Owner, -1);
        node.Permissions = [.. permissions];
        Count(node.Owner, 1);
    }

    /// <summary>Adds all nodes to a hash.</summary>
    internal void AppendTo(IncrementalHash hash) => AppendTo(hash, "", _root);

    private static void AppendTo(IncrementalHash hash, string path, Node node)
    {
        hash.AppendData(Encoding.ASCII.GetBytes($"{path}\0{string.Join(',', node.Permissions)}\0{node.Value.Length}\0"));
        hash.AppendData(node.Value);
        foreach (var (name, child) in node.Children) AppendTo(hash, $"{path}/{name}", child);
    }

    private static Node MakeRoot() => new() { Permissions = [new('r', 0)] };

    private static void Check(string path)
    {
        if (path.Length is 0 or > MaxPath || path[0] != '/' || (path.Length > 1 && path[^1] == '/') || path.Contains("//", StringComparison.Ordinal)) throw new StoreException("EINVAL");
        foreach (var letter in path)
            if (!char.IsAsciiLetterOrDigit(letter) && letter is not ('-' or '/' or '_' or '@')) throw new StoreException("EINVAL");
    }

    private Node? Find(string path)
    {
        var node = _root;
        foreach (var name in path.Split('/', StringSplitOptions.RemoveEmptyEntries))
            if (!node.Children.TryGetValue(name, out node!)) return null;
        return node;
    }

    private Node Get(int domain, string path, bool write)
    {
        Check(path);
        var node = Find(path) ?? throw new StoreException("ENOENT");
        return node.May(domain, write) ? node : throw new StoreException("EACCES");
    }

    private Node MakeNode(int domain, string path)
    {
        Check(path);
        var node = _root;
        var names = path.Split('/', StringSplitOptions.RemoveEmptyEntries);
        var missing = 0;
        foreach (var name in names)
        {
            if (!node.Children.TryGetValue(name, out var child)) break;
            node = child;
            missing++;
        }

        if (!node.May(domain, write: true)) throw new StoreException("EACCES");
        if (domain != 0 && _owned.GetValueOrDefault(domain) + names.Length - missing > MaxNodes) throw new StoreException("ENOSPC");
        foreach (var name in names.AsSpan(missing))
        {
            var child = new Node { Permissions = [.. node.Permissions] };
            if (domain != 0) child.Permissions[0] = child.Permissions[0] with { Domain = domain };
            Count(child.Owner, 1);
            node.Children.Add(name, child);
            node = child;
        }

        return node;
    }

    private void Forget(Node node)
    {
        Count(node.Owner, -1);
        foreach (var child in node.Children.Values) Forget(child);
    }

    private void Count(int owner, int change)
    {
        if (owner != 0) _owned[owner] = _owned.GetValueOrDefault(owner) + change;
    }
}
