using System;

namespace XenDM.Core.Irq;

/// <summary>Where interrupt lines end: the hypervisor's interrupt controllers, or a test's recorder. Chips never see it.</summary>
public interface IIrqSink
{
    /// <param name="input">The sink's own number for the line.</param>
    void SetLevel(int input, bool level);
}

/// <summary>
/// One interrupt wire of a chip, handed over at construction. The chip knows no interrupt number. Setting the level that the line already
/// has costs nothing and reaches nobody.
/// </summary>
public sealed class IrqLine
{
    private readonly IIrqSink? _sink;
    private readonly int _input;

    /// <param name="sink">Null for a wire that is not connected.</param>
    public IrqLine(IIrqSink? sink, int input)
    {
        _sink = sink;
        _input = input;
    }

    /// <summary>A wire that leads nowhere.</summary>
    public static IrqLine Unconnected => new(null, 0);

    public bool Level { get; private set; }

    /// <summary>Drives the line.</summary>
    public void Set(bool level)
    {
        if (level == Level) return;
        Level = level;
        _sink?.SetLevel(_input, level);
    }

    /// <summary>An edge: up and down again.</summary>
    public void Pulse()
    {
        Set(true);
        Set(false);
    }

    /// <summary>
    /// Takes over a level without driving the line: after a restore the interrupt controllers already hold it, and an edge would be a second
    /// interrupt.
    /// </summary>
    public void Restore(bool level)
    {
        Level = level;
        if (_sink is IrqJunction junction) junction.Restore(_input, level);
    }
}

/// <summary>Several lines wired together (wired OR) into one input: COM1 and COM3 share IRQ 4.</summary>
public sealed class IrqJunction : IIrqSink
{
    private readonly IrqLine _output;
    private uint _levels;

    public IrqJunction(IrqLine output) => _output = output;

    /// <summary>A new line into the junction, 0 to 31.</summary>
    public IrqLine Input(int index)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan((uint)index, 31u);
        return new IrqLine(this, index);
    }

    public void SetLevel(int input, bool level)
    {
        _levels = level ? _levels | (1u << input) : _levels & ~(1u << input);
        _output.Set(_levels != 0);
    }

    /// <summary>A restore of one input: the output follows without an edge. Called by the input's line.</summary>
    internal void Restore(int input, bool level)
    {
        _levels = level ? _levels | (1u << input) : _levels & ~(1u << input);
        _output.Restore(_levels != 0);
    }
}
