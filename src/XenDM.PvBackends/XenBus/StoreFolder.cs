using System;
using System.Globalization;
using XenDM.Core.Hypervisor;

namespace XenDM.PvBackends.XenBus;

/// <summary>The nodes of one end of a PV device.</summary>
/// <param name="Path">Absolute.</param>
public readonly record struct StoreFolder(IXenStoreView Store, string Path)
{
    private const int MaxShown = 40;

    /// <summary>Null when the node is not there.</summary>
    public string? Read(string name) => Store.Read($"{Path}/{name}");

    public void Write(string name, string value) => Store.Write($"{Path}/{name}", value);

    public void Write(string name, long value) => Write(name, value.ToString(CultureInfo.InvariantCulture));

    public void Remove(string name) => Store.Remove($"{Path}/{name}");

    /// <summary>A node that is a flag: set when it holds a number other than 0.</summary>
    public bool ReadFlag(string name) => ulong.TryParse(Read(name), NumberStyles.None, CultureInfo.InvariantCulture, out var value) && value != 0;

    /// <exception cref="PvException">It holds no decimal number, or one outside the range.</exception>
    public uint? ReadNumber(string name, uint min = 0, uint max = uint.MaxValue)
    {
        if (Read(name) is not { } text) return null;
        if (!uint.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var value) || value < min || value > max) throw new PvException($"{name} is '{Shortened(text)}', which is no number from {min} to {max}");
        return value;
    }

    /// <inheritdoc cref="ReadNumber"/>
    public uint RequireNumber(string name, uint min = 0, uint max = uint.MaxValue) => ReadNumber(name, min, max) ?? throw new PvException($"{name} is missing");

    /// <summary>Unknown when it is not there or says something else.</summary>
    public XenbusState ReadState() =>
        int.TryParse(Read("state"), NumberStyles.None, CultureInfo.InvariantCulture, out var state) && state is >= 0 and <= (int)XenbusState.Reconfigured ? (XenbusState)state : XenbusState.Unknown;

    /// <summary>A guest's text as one may log it.</summary>
    private static string Shortened(string text)
    {
        var letters = text.ToCharArray(0, Math.Min(text.Length, MaxShown));
        foreach (ref var letter in letters.AsSpan())
            if (letter is < ' ' or > '~') letter = '?';
        return text.Length <= MaxShown ? new string(letters) : new string(letters) + "...";
    }
}
