using System;
using System.Collections.Generic;
using System.Security.Cryptography;
using System.Text;
using XenDM.Core.Hypervisor;

namespace XenDM.Hypervisor.Embedded.Xen.Store;

/// <summary>
/// A tree of named values with owners, watches and transactions, as docs/misc/xenstore.txt of Xen has it. Domain 0 may do everything. What others
/// make is bounded with xenstored's own limits.
/// </summary>
public sealed class XenStore
{
    /// <summary>Nodes that a domain without privileges may own.</summary>
    public const int MaxNodes = 1000;

    /// <summary>Bytes of a value that such a domain may write.</summary>
    public const int MaxValueBytes = 2048;
    private const int MaxPath = 3072;
    private const int MaxPermissions = 5;

    private readonly List<StoreWatch> _watches = [];
    private StoreTree _tree = StoreTree.Empty;
    private ulong _generation = 1;

    /// <summary>Forgets all nodes. Watches stay.</summary>
    public void Clear() => _tree = StoreTree.Empty;

    /// <summary>A node of domain 0's that a guest may read, or of the guest's own; so is what is made below it.</summary>
    public void Make(string path, int guest, bool guestMayWrite)
    {
        Write(path, "");
        SetPermissions(0, path, guestMayWrite ? [new('n', guest)] : [new('n', 0), new('r', guest)], null);
    }

    /// <summary>As domain 0.</summary>
    public void Write(string path, string value) => Write(0, path, Encoding.UTF8.GetBytes(value), null);

    /// <summary>As domain 0; null when there is no such node.</summary>
    public string? Read(string path) => _tree.Find(path) is { } node ? Encoding.UTF8.GetString(node.Value) : null;

    // Requests of a domain, in a transaction or without one.

    /// <exception cref="StoreException">ENOENT, EACCES or EINVAL.</exception>
    internal StoreNode Get(int domain, string path, StoreTransaction? transaction)
    {
        Check(path);
        transaction?.NoteRead(path);
        var node = (transaction?.Tree ?? _tree).Find(path) ?? throw new StoreException("ENOENT");
        return node.May(domain, write: false) ? node : throw new StoreException("EACCES");
    }

    /// <summary>Sets a value; the node and those above it are made where they are missing.</summary>
    /// <exception cref="StoreException">EACCES, EINVAL, ENOSPC for more than the domain may have.</exception>
    internal void Write(int domain, string path, byte[] value, StoreTransaction? transaction)
    {
        if (domain != 0 && value.Length > MaxValueBytes) throw new StoreException("ENOSPC");
        Step(transaction, editor => editor.Write(domain, path, value));
    }

    /// <summary>Makes an empty node where there is none.</summary>
    /// <exception cref="StoreException">As with <see cref="Write(int, string, byte[], StoreTransaction?)"/>.</exception>
    internal void MakeFolder(int domain, string path, StoreTransaction? transaction) => Step(transaction, editor => editor.Write(domain, path, null));

    /// <summary>Removes a node and all below it.</summary>
    /// <exception cref="StoreException">ENOENT when the parent is not there either, EACCES, EINVAL for the root.</exception>
    internal void Remove(int domain, string path, StoreTransaction? transaction) => Step(transaction, editor => editor.Remove(domain, path));

    /// <exception cref="StoreException">ENOENT, EACCES when the caller is not the owner, EINVAL for an empty list, ENOSPC for a long one.</exception>
    internal void SetPermissions(int domain, string path, IReadOnlyList<StorePermission> permissions, StoreTransaction? transaction) =>
        Step(transaction, editor => editor.SetPermissions(domain, path, permissions));

    internal StoreTransaction Start(uint id) => new(id, _tree);

    /// <summary>Makes all steps of a transaction seen.</summary>
    /// <returns>False when something that it read was changed by others; nothing happened.</returns>
    /// <exception cref="StoreException">A step is refused now.</exception>
    internal bool TryCommit(StoreTransaction transaction)
    {
        if (!transaction.IsCurrent(_tree)) return false;
        var editor = new Editor(this, _tree);
        transaction.Repeat(editor);
        Finish(editor);
        return true;
    }

    // Watches.

    /// <summary>Adds a watch, which fires at once.</summary>
    internal void Add(StoreWatch watch)
    {
        _watches.Add(watch);
        watch.Fire(watch.Path);
    }

    internal void Remove(StoreWatch watch) => _watches.Remove(watch);

    /// <exception cref="StoreException">EINVAL: it is no path.</exception>
    internal static void Check(string path)
    {
        if (path.Length is 0 or > MaxPath || path[0] != '/' || (path.Length > 1 && path[^1] == '/') || path.Contains("//", StringComparison.Ordinal)) throw new StoreException("EINVAL");
        foreach (var letter in path)
            if (!char.IsAsciiLetterOrDigit(letter) && letter is not ('-' or '/' or '_' or '@')) throw new StoreException("EINVAL");
    }

    private void Step(StoreTransaction? transaction, Action<Editor> step)
    {
        var editor = new Editor(this, transaction?.Tree ?? _tree);
        step(editor);
        if (transaction is null)
        {
            Finish(editor);
            return;
        }

        transaction.NoteStep(step);
        transaction.Tree = editor.Tree;
    }

    /// <summary>The changed tree is everybody's, and who watches is told.</summary>
    private void Finish(Editor editor)
    {
        var before = _tree;
        _tree = editor.Tree;
        foreach (var (path, removed) in editor.Changes)
        {
            // A list of its own: who is told may come with the next request at once.
            foreach (var watch in _watches.ToArray()) watch.Look(path, removed, before, _tree);
        }
    }

    /// <summary>Changes to a tree, and what they are.</summary>
    internal sealed class Editor(XenStore store, StoreTree tree)
    {
        public StoreTree Tree { get; private set; } = tree;

        public List<(string Path, bool Removed)> Changes { get; } = [];

        /// <param name="value">Null keeps what is there.</param>
        public void Write(int domain, string path, byte[]? value)
        {
            Check(path);
            var names = StoreTree.Names(path);
            var (depth, node) = (0, Tree.Root);
            while (depth < names.Length && node.Children.TryGetValue(names[depth], out var child)) (depth, node) = (depth + 1, child);
            if (!node.May(domain, write: true)) throw new StoreException("EACCES");
            if (domain != 0 && Tree.Owned.GetValueOrDefault(domain) + names.Length - depth > MaxNodes) throw new StoreException("ENOSPC");
            if (depth == names.Length)
            {
                if (value is null) return;
                Put(path, node with { Value = value, Generation = ++store._generation });
                return;
            }

            var at = string.Concat(depth == 0 ? "" : "/", string.Join('/', names.AsSpan(0, depth)!));
            var permissions = domain == 0 ? node.Permissions : node.Permissions.SetItem(0, node.Permissions[0] with { Domain = domain });
            for (; depth < names.Length; depth++)
            {
                at = $"{at}/{names[depth]}";
                Tree = Tree.With(at, new StoreNode(StoreNode.NoChildren, depth == names.Length - 1 ? value ?? [] : [], permissions, ++store._generation), store._generation);
            }

            Changes.Add((path, false));
        }

        public void Remove(int domain, string path)
        {
            Check(path);
            if (path == "/") throw new StoreException("EINVAL");
            var slash = path.LastIndexOf('/');
            if (Tree.Find(slash == 0 ? "/" : path[..slash]) is null) throw new StoreException("ENOENT");
            if (Tree.Find(path) is not { } node) return;
            if (!node.May(domain, write: true)) throw new StoreException("EACCES");
            Tree = Tree.With(path, null, ++store._generation);
            Changes.Add((path, true));
        }

        public void SetPermissions(int domain, string path, IReadOnlyList<StorePermission> permissions)
        {
            Check(path);
            var node = Tree.Find(path) ?? throw new StoreException("ENOENT");
            if (!node.May(domain, write: true)) throw new StoreException("EACCES");
            if (permissions.Count == 0) throw new StoreException("EINVAL");
            if (domain != 0 && (domain != node.Owner || permissions[0].Domain != domain)) throw new StoreException("EACCES");
            if (domain != 0 && permissions.Count > MaxPermissions) throw new StoreException("ENOSPC");
            Put(path, node with { Permissions = [.. permissions], Generation = ++store._generation });
        }

        private void Put(string path, StoreNode node)
        {
            Tree = Tree.With(path, node, store._generation);
            Changes.Add((path, false));
        }
    }

    /// <summary>Adds all nodes and watches to a hash.</summary>
    internal void AppendTo(IncrementalHash hash)
    {
        AppendTo(hash, "", _tree.Root);
        foreach (var watch in _watches) hash.AppendData(Encoding.ASCII.GetBytes($"{watch.Path}\0{watch.Token}\0"));
    }

    private static void AppendTo(IncrementalHash hash, string path, StoreNode node)
    {
        hash.AppendData(Encoding.ASCII.GetBytes($"{path}\0{string.Join(',', node.Permissions)}\0{node.Value.Length}\0"));
        hash.AppendData(node.Value);
        foreach (var (name, child) in node.Children) AppendTo(hash, $"{path}/{name}", child);
    }
}
