using System;
using System.Collections.Generic;
using System.Collections.Immutable;
using XenDM.Core.Hypervisor;

namespace XenDM.Hypervisor.Embedded.Xen.Store;

/// <summary>A node of the store, which never changes: a change makes new nodes from there to the root.</summary>
/// <param name="Generation">Of the last change of value, permissions or the list of children.</param>
internal sealed record StoreNode(ImmutableSortedDictionary<string, StoreNode> Children, byte[] Value, ImmutableArray<StorePermission> Permissions, ulong Generation)
{
    public static readonly ImmutableSortedDictionary<string, StoreNode> NoChildren = ImmutableSortedDictionary.Create<string, StoreNode>(StringComparer.Ordinal);

    public int Owner => Permissions[0].Domain;

    public bool May(int domain, bool write)
    {
        if (domain == 0 || domain == Owner) return true;
        var permission = Permissions[0];
        for (var n = 1; n < Permissions.Length; n++)
        {
            if (Permissions[n].Domain != domain) continue;
            permission = Permissions[n];
            break;
        }

        return write ? permission.Writes : permission.Reads;
    }
}

/// <summary>All nodes at one moment, with how many each domain owns. A transaction keeps one, and works on another.</summary>
internal sealed record StoreTree(StoreNode Root, ImmutableDictionary<int, int> Owned)
{
    public static StoreTree Empty { get; } = new(new StoreNode(StoreNode.NoChildren, [], [new('r', 0)], 1), ImmutableDictionary<int, int>.Empty);

    /// <summary>The names of a path, which was checked.</summary>
    public static string[] Names(string path) => path.Split('/', StringSplitOptions.RemoveEmptyEntries);

    public StoreNode? Find(string path)
    {
        var node = Root;
        foreach (var name in Names(path))
            if (!node.Children.TryGetValue(name, out node)) return null;
        return node;
    }

    /// <summary>With a node in the place of the one at a path, whose parent is there; null takes it away.</summary>
    /// <param name="generation">Of the parent, when its list of children changes.</param>
    public StoreTree With(string path, StoreNode? node, ulong generation)
    {
        var names = Names(path);
        if (names.Length == 0) return this with { Root = node! };
        var old = Find(path);
        var owned = Owned;
        if (old is not null)
        {
            if (node is null) owned = CountAll(owned, old);
            else owned = Count(owned, old.Owner, -1);
        }

        if (node is not null) owned = Count(owned, node.Owner, 1);
        return new StoreTree(Replace(Root, names, 0, node, generation), owned);
    }

    private static StoreNode Replace(StoreNode at, string[] names, int depth, StoreNode? node, ulong generation)
    {
        var name = names[depth];
        if (depth < names.Length - 1) return at with { Children = at.Children.SetItem(name, Replace(at.Children[name], names, depth + 1, node, generation)) };
        if (node is null) return at with { Children = at.Children.Remove(name), Generation = generation };
        return at with { Children = at.Children.SetItem(name, node), Generation = at.Children.ContainsKey(name) ? at.Generation : generation };
    }

    private static ImmutableDictionary<int, int> CountAll(ImmutableDictionary<int, int> owned, StoreNode node)
    {
        var waiting = new Stack<StoreNode>();
        waiting.Push(node);
        while (waiting.TryPop(out var next))
        {
            owned = Count(owned, next.Owner, -1);
            foreach (var child in next.Children.Values) waiting.Push(child);
        }

        return owned;
    }

    private static ImmutableDictionary<int, int> Count(ImmutableDictionary<int, int> owned, int owner, int change) =>
        owner == 0 ? owned : owned.SetItem(owner, owned.GetValueOrDefault(owner) + change);
}
